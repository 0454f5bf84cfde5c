"""The words of invented corpora: names of things and people, and the clauses of sentences that say nothing."""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _clauses(text: str) -> tuple[str, ...]:
    return tuple(" ".join(text.split()).split(", "))


FIRSTS = _words("""
    Amber Ashen Azure Birch Bright Bronze Cedar Chalk Cinder Clear Cobalt Copper Coral Crimson Dawn Delta Distant Drift
    Dusk Early Ember Fallow Flint Frost Gentle Gilded Granite Green Hidden Hollow Indigo Iron Ivory Jade Juniper Late
    Lunar Maple Marble Misty Northern Oaken Ochre Opal Pale Pearl Quiet Rapid Ruby Russet Sable Scarlet Silent Silver
    Solar Steady Stone Summer Swift Tidal Umber Velvet Verdant Violet Walnut Western Willow Winter Woven Young
""")
"""First words of projects, plants and items."""

SECONDS = _words("""
    Anchor Anvil Arbor Arch Badger Bay Beacon Bell Bluff Bridge Brook Canyon Castle Compass Cove Crane Crest Crown
    Dale Dock Drum Eagle Falcon Fern Field Ford Forge Fox Gate Glade Grove Gull Harbour Haven Hawk Heath Heron Hill
    Holt Hound Island Kestrel Lagoon Lake Lantern Lark Ledge Loom Lynx Marsh Mast Meadow Mill Moor Needle Otter Owl
    Pass Path Peak Pier Pine Plover Pond Quay Quill Raven Reef Ridge River Sail Shore Spire Spring Stag Starling Swan
    Thicket Thistle Tower Trail Vale Wharf Wheel Wren
""")

GIVEN = _words("""
    Ada Agnes Alba Alma Anton Arne Astrid Aurel Bela Berit Bruno Carla Cato Clara Corin Dagny Dario Delia Edda Edgar
    Elias Elin Emeka Enzo Erna Fabian Farah Felix Fiona Frida Gesa Gideon Greta Hakon Hanna Hector Ida Ilse Imre Ines
    Irma Isak Ivo Jana Jonas Jorid Judit Kaia Karel Katya Klara Lars Leila Lena Leon Livia Lucan Magda Malin Mara Mats
    Mila Mina Mirko Nadia Nils Nora Odile Olaf Oskar Otto Paula Petra Pilar Quentin Ragna Remi Rosa Runa Sanna Selma
    Sigrid Silas Simon Stella Sven Tamar Tessa Theo Tilda Tomas Ulla Uma Vera Viggo Vilma Wanda Yara Yusuf Zelda Zora
""")

FAMILY = _words("""
    Abrams Adler Albers Amundsen Arendt Aston Bakker Barlow Becker Bergen Blom Bolt Brandt Carver Cole Corbin Dahl
    Danner Dekker Dorn Draper Eklund Ellis Engel Falk Faber Fenn Fischer Forsell Garner Gatsby Geller Grieg Hagen
    Halloran Hansson Harker Hartmann Heller Holm Horvat Ingram Jansen Jarvis Kaplan Keller Kemp Kessler Kirsch Kovac
    Krantz Lange Larkin Lindgren Lorenz Lund Maddox Marlow Mercer Moller Morrow Nagel Nash Neumann Nilsson Norberg
    Novak Olsen Orban Osborne Palmer Pascal Pelham Pohl Quint Quist Rader Ramsey Rask Reuter Rhodes Ritter Rosen
    Sander Sartor Schell Selby Sommer Stark Stendahl Storm Sutter Tanner Thorne Toller Unger Vance Varga Vogel Voss
    Walden Weber Werner Whitby Winther Wolff Yates Zander Ziegler
""")

CITIES = _words("""
    Aldermoor Bexhaven Brightwick Caldmere Carrowby Dunholt Eastmere Elmsford Farrowgate Fellbridge Galdermouth Greywick
    Halvorsund Harrowmere Ironbridge Kelsport Kingsholt Lavenmoor Lindhaven Marrowdale Merefield Northwick Norvik
    Oakhaven Ostermouth Pellmore Pinewick Quarrington Ravensby Redmere Saltholm Selwick Stonehaven Tarnby Thornmouth
    Underhill Vestborg Wainfleet Westermoor Whitmere Yarrowby Zelderen
""")

COMPANIES = _words(
    "Aldane Brevik Corvane Dorvald Eskmont Farnholm Grenvale Halden Istria Kaldor Lorvane Mersund Nordal"
)
TRADES = _words("Freight Holdings Instruments Logistics Marine Optics Systems Timber Works")

KEY_FIRSTS = _words("""
    ancient brave calm daring eager faint gentle hasty idle jolly keen lively mellow nimble odd plain quaint rusty
    shady tame urban vivid wary zesty bold crisp dusty early fancy grand humble icy
""")
KEY_SECONDS = _words("""
    acorn basin cabin dagger engine feather garden hammer insect jacket kettle ladder magnet napkin orchard pepper
    quarry ribbon saddle teapot umbrella valley window yacht zipper bucket candle desert easel fiddle goblet helmet
""")

COMMON = _words("""
    apple bench cloud dance eagle flame grape house island jewel knife lemon mouse night ocean piano queen robot sheep
    table uncle voice whale zebra angle bread chair drift earth fence glove honey index judge kite lunch maple nurse
    onion paint quilt river spoon tower urn violin wagon yeast anchor barrel cactus drawer ember forest gravel hatch
    igloo jungle kernel lantern marble needle otter pillow quiver rocket saddle tunnel upland velvet walnut yellow
    acorn branch copper dollar engine finger guitar hammer insect jacket kitten ladder magnet nickel orange pepper
    rabbit silver turtle valley window zipper almond bridge carpet desert elbow feather garden helmet ivory kettle
    lizard mirror noodle oyster parrot ribbon salmon tomato vessel willow basket candle donkey eraser falcon ginger
    hollow inkpot jasmine kiosk locket muffin nectar olive pigeon raisin sailor timber urchin violet weasel
""")
"""Words to be counted."""

STARTS = _clauses("""
    After a short pause, As in earlier years, At the request of the office, Before the break, By common consent,
    Contrary to what was feared, During the afternoon, For want of time, From what is known so far, In a separate
    note, In the course of the week, In the meantime, Much to everyone's relief, Not for the first time, On a
    related matter, On reflection, Once the room was quiet, Somewhat unexpectedly, Towards the end, With some
    hesitation, Without further debate, Over lunch, As a matter of routine, Outside the agenda, Later in the day, To
    general surprise, Apart from that, As far as can be told
""")
SUBJECTS = _clauses("""
    the archive team, a visitor from the coast, the caretaker, the committee, the external auditor, the facilities
    desk, the finance office, the front desk, the harbour office, the head of stores, the insurer, the legal
    department, the local press, the maintenance crew, the night shift, the planning group, the printing house, the
    procurement desk, the safety officer, the senior clerk, the training unit, the works council, the transport
    desk, the translation service, the canteen, the junior staff, the travel office, the union delegate, the weather
    service, the youngest member
""")
VERBS = _clauses("""
    asked about, brought up, commented on, complained about, confirmed receipt of, discussed, drew attention to,
    expressed doubts about, forgot to mention, gave a short account of, had nothing to add to, insisted on seeing,
    looked once more at, made light of, paid little attention to, passed over, praised, put off the decision on,
    raised no objection to, read aloud from, reported on, returned to, showed photographs of, took note of, tried to
    explain, was curious about, was silent on, withdrew its remarks on
""")
OBJECTS = _clauses("""
    the state of the corridor lamps, the wording of the last circular, the broken window in the stairwell, a
    complaint about the parking spaces, the new coffee machine, the order of the agenda, the summer party, the draft
    of the newsletter, the delayed delivery of chairs, the heating in the east wing, a missing umbrella, the colour
    of the new folders, the noise from the building site, an invitation to a lecture, the spelling in the annual
    brochure, the list of public holidays, the poor reception in the cellar, a rumour about the old warehouse, the
    repainting of the fence, the seating in the large hall, the condition of the footpath, the key to the storage
    room, the habits of the previous tenant, the layout of the reading room, a letter from a retired colleague, the
    opening hours of the library, the quality of the tap water, the schedule of the shuttle bus, the smell in the
    archive, the fire drill, the view from the roof, the cleaning of the carpets
""")
ENDS = _clauses("""
    and left it at that, but reached no conclusion, to the satisfaction of those present, in a few words, at some
    length, with good humour, and promised to come back to it, although nobody had asked, before moving on, as was
    to be expected, with the help of a sketch, in the usual manner, and was thanked for it, while the coffee was
    served, for the benefit of newcomers, in rather general terms, without naming anyone, and asked for patience,
    under any other business, as a courtesy
""")
