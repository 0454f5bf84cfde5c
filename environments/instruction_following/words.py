"""Words that tasks and witnesses are made of: short, lower case, no two of them one inside the other."""

from __future__ import annotations

_POOL = (
    "apple arrow badge bell boat bread brick bridge candle castle cloud coin corn crown desk drum eagle engine fence "
    "field flute forest garden glass hammer harbor honey island ivory jacket jungle kettle kitten ladder lamp lemon "
    "market melon mirror needle ocean olive orchid paper pepper piano pillow planet rain river saddle silver snow "
    "spoon stone summer table tiger tower violin wagon window winter zebra"
)
POOL = _POOL.split()
"""The words that prompts name: topics, keywords, first and last words."""

_FILLER = (
    "about above again against almost along already always another around because before behind below beside between "
    "beyond bright broad busy calm carry clean clear climb close cold come cross dance deep down draw dream early "
    "easy empty enough evening every faint fall famous far fast few find fine firm flat follow fresh gentle give "
    "good grand great green grow happy hard hear heavy help here hidden high hold huge join jump just keep kind large "
    "late laugh lead learn leave light like little live long look loud make many meet mild move much near never "
    "new nice night often old open other over pale pass patient plain play polite pretty proud pull push quick quiet "
    "rare reach ready real rest rich right rise round run safe same seem sharp shine short show shy simple sing slow "
    "small smooth soft some soon stand steady still strong sweet swift take talk tall tender thick thin think tidy "
    "tiny true turn under unique upon usual vast very visit wait walk warm watch weak wide wild wise wonder work "
    "write yellow yet young zealous"
)
FILLER = _FILLER.split()
"""What a witness is filled up with; disjoint from `POOL`, so filling never adds a keyword."""

PALINDROMES = ("level", "civic", "radar", "noon", "kayak")

NOT_EVEN_A_WORD = "qux"
"""In no pool: what counter-examples put in a word's place."""
