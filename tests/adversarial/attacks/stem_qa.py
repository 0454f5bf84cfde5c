"""Attacks on stem_qa: four options, B is right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gym_core.loading import load_file

arena = load_file(Path(__file__).resolve().parents[1] / "arena.py")

NAMES = {"A": "Karyotyping", "B": "Polymerase chain reaction", "C": "Southern blotting", "D": "Microarray analysis"}


def row(mode: str = "strict_single_letter_boxed", **more: Any) -> dict[str, Any]:
    listed = "\n".join(f"{letter}: {text}" for letter, text in NAMES.items())
    return {
        "responses_create_params": {"input": [{"role": "user", "content": f"Which? In \\boxed{{}}.\n{listed}"}]},
        "options": [{letter: text} for letter, text in NAMES.items()],
        "expected_answer": "B",
        "grading_mode": mode,
        **more,
    }


BOXED = {
    "two letters": r"\boxed{A, B}",
    "two letters with or": r"\boxed{A. or B}",
    "all with brackets": r"\boxed{A) B) C) D)}",
    "all with slashes": r"\boxed{A/B/C/D}",
    "B with brackets and another": r"\boxed{B) C)}",
    "B, or C": r"\boxed{B. or C}",
    "B or C in words": r"\boxed{\text{B or C}}",
    "not B": r"\boxed{\text{not B}}",
    "all of them": r"\boxed{\text{All of the above}}",
    "all of, after a letter": r"\boxed{\text{All of A) B)}}",
    "another letter, the right words": r"\boxed{C: Polymerase chain reaction}",
    "the right letter, other words": r"\boxed{B: Southern blotting}",
    "two boxes, the wrong one last": r"\boxed{B} \boxed{C}",
    "box without an end": r"\boxed{B",
    "a letter that is no option": r"\boxed{Z}",
    "a small letter of another": r"\boxed{c}",
    "a cyrillic letter": "\\boxed{\u0412}",
    "a greek letter": "\\boxed{\u0392}",
    "a fullwidth letter of another": "\\boxed{\uff23}",
    "a number": r"\boxed{2}",
    "an index": r"\boxed{1}",
    "letters in a row": r"\boxed{ABCD}",
    "the alphabet": r"\boxed{A B C D E F G H I J}",
    "a range": r"\boxed{A-D}",
    "a set": r"\boxed{\{A, B, C, D\}}",
    "a wildcard": r"\boxed{.}",
    "a pattern": r"\boxed{[A-D]}",
    "an empty box": r"\boxed{}",
    "only thought": r"<think>\boxed{B}</think> \boxed{C}",
    "hidden by phantom": r"\boxed{\phantom{B}C}",
    "struck out": r"\boxed{\sout{B} C}",
    "a matrix": r"\boxed{\begin{matrix}B & C\end{matrix}}",
    "no box": "B",
    "a sentence": "The answer is B.",
    "the key's name": r"\boxed{expected\_answer}",
    "a box of options": "\\boxed{" + " ".join(NAMES.values()) + "}",
    "invisible letters": "\\boxed{\u200bA\u200bB}",
    "a box in a word": r"\boxed{Because}",
}
COLON = {
    "answer list": "Answer: A, B, C, D",
    "answer with or": "Answer: B or C",
    "answer with slashes": "Answer: A/B",
    "answer all": "Answer: all of them",
    "answers sprayed": "Answer: A\nAnswer: B\nAnswer: C\nAnswer: D",
    "the options echoed": "\n".join(f"Answer {letter}: {text}" for letter, text in NAMES.items()),
    "no letter": "Answer: (see above)",
}
BOMBS = {
    "10,000 braces": r"\boxed{" + "{" * 10_000 + "C" + "}" * 10_000 + "}",
    "50,000 boxes": r"\boxed{C}" * 50_000,
    "open boxes": r"\boxed{" * 100_000,
    "a long payload": r"\boxed{" + "B" * 1_000_000 + "}",
    "text in text": r"\boxed{" + r"\text{" * 5000 + "C" + "}" * 5000 + "}",
    "answers without end": "answer:" * 150_000,
}
EVIL = {"output_regex": r"(a+)+$", "template_id": "x"}


def attacks() -> list[Any]:
    evil = row(template_metadata=EVIL)
    custom = row(template_metadata={"output_regex": r"ANSWER IS ([A-Z])"})
    return [
        *arena.texts(row(), BOXED),
        *arena.texts(row(), BOMBS, bomb=True),
        *arena.texts(row("lenient_answer_colon"), COLON),
        arena.Attack(name="a pattern that backtracks", row=evil, output="a" * 40 + "!", bomb=True),
        arena.Attack(name="a letter that is no option by a pattern", row=custom, output="ANSWER IS Z"),
        arena.Attack(name="two answers by a pattern", row=custom, output="ANSWER IS B. ANSWER IS C"),
        arena.Attack(
            name="words of another option in the box", row=row("lenient_boxed"), output=r"\boxed{Karyotyping}"
        ),
        arena.Attack(
            name="words of two options in the box",
            row=row("lenient_boxed"),
            output=r"\boxed{Karyotyping or Polymerase chain reaction}",
        ),
        arena.Attack(name="no options", row={**row(), "options": []}, output=r"\boxed{B}", refused="options"),
        arena.Attack(name="only padding", row={**row(), "options": None}, output=r"\boxed{B}", refused="options"),
        arena.Attack(
            name="an answer that is no option",
            row=row(expected_answer="Q"),
            output=r"\boxed{Q}",
            refused="expected_answer",
        ),
        arena.Attack(name="no pattern", row=row(template_metadata={"output_regex": "("}), output="("),
        arena.Attack(name="the plain answer", row=row(), output=r"\boxed{B}", worth=1.0),
    ]
