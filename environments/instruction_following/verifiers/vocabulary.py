"""Closed word lists that the out-of-distribution constraints speak of: small words, pronouns, names, verbs, places."""

from __future__ import annotations

_PERSONAL = """
i me my myself we our ours ourselves you your yours yourself yourselves he him his himself she her hers herself it its
itself they them their theirs themselves what which who whom this that these those
"""
_VERBAL = """
am is are was were be been being have has had having do does did doing can will just should now
"""
_JOINING = """
a an the and but if or because as until while of at by for with about against between into through during before after
above below to from up down in out on off over under again further then once here there when where why how all any both
each few more most other some such no nor not only own same so than too very
"""
_NEGATED = """
ain aren couldn didn doesn don hadn hasn haven isn ma mightn mustn needn shan shouldn wasn weren won wouldn
"""
_CUT_OFF = "s t d ll m o re ve y"
STOP_WORDS = frozenset(" ".join((_PERSONAL, _VERBAL, _JOINING, _NEGATED, _CUT_OFF)).split())
"""English words that carry grammar rather than matter, and what an apostrophe leaves of them (`don` and `t`)."""

_PRONOUNS = """
i me we us you he him she her it they them my mine our ours your yours his hers its their theirs myself ourselves
yourself yourselves himself herself itself themselves this that these those who whom whose which what whoever whomever
whatever whichever anybody anyone anything everybody everyone everything nobody nothing somebody someone something
each either neither both all some any none
"""
PRONOUNS = frozenset(_PRONOUNS.split())

CONJUNCTIONS = ("and", "but", "for", "nor", "or", "so", "yet")
"""The coordinating ones."""

_NAMES = """
Emma Liam Sophia Jackson Olivia Noah Ava Lucas Isabella Mason Mia Ethan Charlotte Alexander Amelia Benjamin Harper Leo
Zoe Daniel Chloe Samuel Lily Matthew Grace Owen Abigail Gabriel Ella Jacob Scarlett Nathan Victoria Elijah Layla
Nicholas Audrey David Hannah Christopher Penelope Thomas Nora Andrew Aria Joseph Claire Ryan Stella Jonathan
"""
NAMES = tuple(_NAMES.split())
"""The fifty that the published constraint lists."""

_LONG_PALINDROMES = """
level civic radar kayak refer rotor tenet madam deified reviver racecar stats sagas
"""
LONG_PALINDROMES = tuple(_LONG_PALINDROMES.split())

_VERBS = """
accept access add adjust admit adopt advise aim allow analyze announce answer apply argue arrange arrive ask assemble
assess assign assume attach attend avoid bake balance be bear beat become begin behold believe blend boil borrow break
breathe bring browse build buy calculate call care carry catch celebrate challenge change check choose clean clear
climb close collect combine come compare complete compose compute concentrate conclude conduct configure connect
consider construct consult contact contain continue contribute convert convince cook copy correct count cover create
cultivate cut dance deal decide declare decrease define deliver demonstrate deny depend deploy derive describe design
destroy determine develop devise discover discuss display distribute dive divide do document download draft draw dream
drink drive drop earn eat edit eliminate embark embrace emphasize employ enable encourage end engage enhance enjoy
ensure enter escape establish estimate evaluate examine excel exclude execute exercise exist expand expect explain
explore expose express extend extract face fail fall feed feel fetch fight fill find finish fix fly focus fold follow
forget forgive form formulate forward foster freeze gain gather generate get give glance go grab grasp grind grow
guarantee guess guide handle happen hear heat help hide highlight hold hope identify ignore illustrate imagine
implement import improve include incorporate increase indicate inform initialize insert inspect install integrate
introduce invent invest investigate invite involve join jump keep kill knock know learn leave lend let leverage lie
listen live locate log look lose love lower maintain make manage mark maximize measure meet mention merge minimize mix
modify monitor move multiply navigate need negotiate note notice observe obtain offer open operate optimize order
organize outline overcome paint participate pass pay perform permit pick picture place plan play ponder pour practice
predict prefer prepare present preserve press prevent print prioritize proceed produce promote propose protect prove
provide publish pull purchase push put question quit raise reach read realize receive recognize recommend record
reduce refer refine reflect refuse regard register reinforce reject relax release rely remain remember remind remove
repeat replace reply report represent request require rescue research resist resolve respect respond rest retrieve
return reveal review revise ride rise run save say schedule search secure see seek select sell send separate serve set
settle shape share shift shoot shop show shut simplify sing sit sketch sleep slice smile solve sort speak specify
spend split spread stand start state stay step stir stop store strengthen strike strive study submit suggest summarize
support suppose survive swim switch take talk teach tell tend test thank think throw touch track train transfer
transform translate travel treat trust try turn understand undertake unleash update upgrade upload use utilize
validate verify view visit visualize wait wake walk want warn wash watch weave welcome win wonder work worry wrap
write yield
"""
VERBS = frozenset(_VERBS.split())
"""Base forms of common verbs: what an answer begins with when it begins with a verb."""

_AUXILIARIES = """
is are was were am does did has have had do be been being isn't aren't wasn't weren't doesn't didn't hasn't haven't
hadn't don't
"""
AUXILIARIES = frozenset(_AUXILIARIES.split())

_IRREGULAR = """
began broke brought built bought came chose did drew drank drove ate fell felt found flew forgot forgave froze got
gave went grew held kept knew learned left lent lost made meant met paid ran said saw sold sent shook sang sat slept
spoke spent stood struck swam took taught told thought threw understood woke won wrote begun broken chosen drawn
driven eaten fallen flown forgotten frozen given gone grown known seen shown spoken taken thrown written being
"""
IRREGULAR = frozenset(_IRREGULAR.split())

COUNTRIES_OF_AFRICA: tuple[tuple[str, ...], ...] = (
    ("algeria",), ("angola",), ("benin",), ("botswana",), ("burkina faso",), ("burundi",), ("cameroon",),
    ("cabo verde", "cape verde"), ("central african republic",), ("chad",), ("comoros",),
    ("democratic republic of the congo", "congo democratic republic of the", "dr congo", "congo kinshasa"),
    ("republic of the congo", "congo republic of the", "congo", "congo brazzaville"),
    ("cote d ivoire", "ivory coast"), ("djibouti",), ("egypt",), ("equatorial guinea",), ("eritrea",),
    ("eswatini", "swaziland"), ("ethiopia",), ("gabon",), ("gambia", "the gambia"), ("ghana",), ("guinea",),
    ("guinea bissau",), ("kenya",), ("lesotho",), ("liberia",), ("libya",), ("madagascar",), ("malawi",), ("mali",),
    ("mauritania",), ("mauritius",), ("morocco",), ("mozambique",), ("namibia",), ("niger",), ("nigeria",),
    ("rwanda",), ("sao tome and principe",), ("senegal",), ("seychelles",), ("sierra leone",), ("somalia",),
    ("south africa",), ("south sudan",), ("sudan",), ("tanzania",), ("togo",), ("tunisia",), ("uganda",),
    ("zambia",), ("zimbabwe",),
)  # fmt: skip
"""The 54 members of the United Nations there, each with the names it goes by: lower case, no accents, no signs."""

_NORTHERN_CAPITALS = """
Reykjavik Helsinki Oslo Tallinn Stockholm Riga Moscow Copenhagen Vilnius Minsk Dublin Berlin Amsterdam Warsaw London
Brussels Prague Luxembourg Paris Vienna Bratislava Budapest Vaduz Chisinau Bern Ljubljana Zagreb
"""
NORTHERN_CAPITALS = tuple(_NORTHERN_CAPITALS.split())
"""Capitals above 45° north, northernmost first, as the published key has them: without Kyiv (50.45°, before Prague)."""

_MINOR_WORDS = """
a an the and but or nor for so yet as at by in of off on per to up via from into onto over with upon than
"""
MINOR_WORDS = frozenset(_MINOR_WORDS.split())
"""What title case may leave small, except at the beginning."""

_FIRST_TO_LAST = """
amber brave copper daring early fresh golden happy indigo joyful keen lively mellow noble orange purple quiet royal
silent tidy upper vivid warm xenial young zesty
"""
FIRST_TO_LAST = tuple(_FIRST_TO_LAST.split())
"""One word for each letter of the alphabet."""
