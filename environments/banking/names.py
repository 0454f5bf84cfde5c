"""Names of people, shops, streets and words that the generator draws from."""

from __future__ import annotations

_FIRST = (
    "Ada Bela Carla Dario Edda Farid Gesa Hasan Ines Jonas Katya Leo Mira Nils Olga Pavel Quirin Rosa Selma Timo Ute "
    "Vera Wanda Xaver Yara Zeno Aline Boris Celia Emil Fiona Georg Hilde Ivana Jasper Klara Lukas Maya Nora Oscar"
)
_LAST = (
    "Adler Bauer Conti Dietz Ebner Fuchs Gruber Haas Ibsen Jansen Keller Lindt Moser Novak Oertel Petrov Quast Richter "
    "Sauer Thoma Ulrich Vogel Weiss Yilmaz Zander Brandt Decker Engel Falk Graf Horn Kern Lenz Marx Ott Pohl Roth Wolf"
)
_WORDS = (
    "maple anchor velvet copper lantern orchid pebble saffron thistle walnut comet harbour juniper marble nectar olive "
    "parrot quartz raven sequoia tundra violet willow zephyr acorn bramble cobalt dahlia ember falcon glacier hazel"
)
FIRST, LAST, WORDS = _FIRST.split(), _LAST.split(), _WORDS.split()
SHOPS = (
    "Nordlicht Books", "Café Amsel", "Velo Kraus", "Garten Linde", "Kino Orion", "Radio Stern", "Bäckerei Thal",
    "Sport Falke", "Möbel Rank", "Optik Hell", "Zoo Paradies", "Wein Sommer", "Foto Blitz", "Papier Held",
    "Schuh Ahorn", "Musik Quinte", "Bahnhof Kiosk", "Taxi Süd", "Hotel Krone", "Fisch Petersen", "Teehaus Min",
    "Blumen Iris", "Elektro Volt", "Markt Ost", "Salon Nova", "Spielzeug Eule", "Uhren Takt", "Werkzeug Horn",
)  # fmt: skip
STREETS = (
    "Birch Lane", "Mill Road", "Station Street", "Castle Hill", "Harbour Walk", "Rose Garden", "Church Close",
    "Bridge Street", "Lake View", "Market Place", "Forest Path", "Old Town Square",
)  # fmt: skip
EMAIL_HOSTS = ("post.example", "mail.example", "home.example", "web.example")
PAYEES = (
    "City Power", "Stadtwerke", "Aqua Supply", "Rent Office", "Music School", "Gym Atlas", "Fibre Net", "Car Insurance",
    "Kindergarten Sonne", "Garage Peters", "Newspaper Tag", "Chess Club",
)  # fmt: skip
