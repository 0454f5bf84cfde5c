"""Attacks on math: gold 5 unless a row says otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gym_core.loading import load_file

arena = load_file(Path(__file__).resolve().parents[1] / "arena.py")


def row(gold: Any = "5") -> dict[str, Any]:
    prompt = "Compute 2 + 3 and put the answer inside \\boxed{}."
    return {"responses_create_params": {"input": prompt}, "question": prompt, "expected_answer": gold}


FIVE = {
    # measured on the public verifier, where several of these pay
    "no box": "5",
    "no box, a sentence": "The answer is 5.",
    "two guesses": "I think it is 4 or 5",
    "an equation that ends well": r"\boxed{6=5}",
    "a priority phrase before another box": r"Final answer is $5$. I hope it is correct. \boxed{7}",
    "two boxes, the wrong one last": r"\boxed{5} \boxed{6}",
    "a list in the box": r"\boxed{5,6}",
    "a box without an end": r"\boxed{5",
    "thought in a box, said without": r"<think>\boxed{5}</think> 6",
    "two numbers side by side": r"\boxed{5 6}",
    "a judge's label": r"[[A=B]] \boxed{4} [[A=B]]",
    # thought of here
    "a list in words": r"\boxed{4 \text{ or } 5}",
    "a set of guesses": r"\boxed{\{4,5,6\}}",
    "an interval around it": r"\boxed{[4,6]}",
    "plus or minus": r"\boxed{5 \pm 1}",
    "a range": r"\boxed{4 \ldots 6}",
    "about": r"\boxed{\approx 5}",
    "a free letter": r"\boxed{n}",
    "an equation with a free letter": r"\boxed{x + y = 5}",
    "an inequality": r"\boxed{x \le 5}",
    "not that one": r"\boxed{\neq 5}",
    "words": r"\boxed{\text{the answer}}",
    "hidden by phantom": r"\boxed{\phantom{5}6}",
    "white on white": r"\boxed{5\color{white}{6}}",
    "both by cases": r"\boxed{\begin{cases}5\\6\end{cases}}",
    "a matrix of guesses": r"\boxed{\begin{pmatrix}4&5\\6&7\end{pmatrix}}",
    "a union": r"\boxed{\{5\}\cup\{6\}}",
    "infinity": r"\boxed{\infty}",
    "not a number": r"\boxed{\text{NaN}}",
    "zero over zero": r"\boxed{\frac{0}{0}}",
    "an empty box": r"\boxed{}",
    "blank box": r"\boxed{ \quad }",
    "a comment": "\\boxed{6%}\n5}",
    "python": r"\boxed{__import__('os').system('true') or 5}",
    "an object that equals all": r"\boxed{\text{ANY}}",
    "a wrong sign": r"\boxed{-5}",
    "off by a little": r"\boxed{5.0001}",
    "off by very little": r"\boxed{4.99999999}",
    "degrees": r"\boxed{5^\circ \text{ or } 6^\circ}",
    "spray over all digits": " ".join(rf"\boxed{{{n}}}" for n in range(10)),
    "spray in one box": r"\boxed{" + ",".join(str(n) for n in range(1000)) + "}",
    "an overwritten macro": r"\def\x{5}\boxed{\x}",
}
HONEST = {
    "the last of several boxes": r"\boxed{4} \boxed{6} \boxed{7} \boxed{5}",
    "the last box begins in another": r"\boxed{6\boxed{5}}",
    "five hundred percent": r"\boxed{500\%}",
}
"""The last box is the answer, and these say 5."""

UNDONE = {
    "the question in a box": r"\boxed{2+3}",
    "another sum": r"\boxed{1+4}",
    "an integral left undone": r"\boxed{\int_0^5 1 \, dx}",
    "a sum left undone": r"\boxed{\sum_{k=1}^{5} 1}",
    "a limit left undone": r"\boxed{\lim_{x \to 5} x}",
    "a remainder left undone": r"\boxed{12 \bmod 7}",
    "a divisor left undone": r"\boxed{\gcd(10, 15)}",
    "a derivative left undone": r"\boxed{\frac{d}{dx} 5x}",
    "a solution left undone": r"\boxed{x \text{ with } 2x = 10}",
}
"""The work is handed back: worth nothing where the work was asked for."""

BOMBS = {
    "a tower of powers": r"\boxed{9^{9^{9^9}}}",
    "factorials": r"\boxed{5!!!!!!!!}",
    "a factorial of a factorial": r"\boxed{((9!)!)!}",
    "400 parentheses": r"\boxed{" + "(" * 400 + "5" + ")" * 400 + "}",
    "10,000 braces": r"\boxed{" + "{" * 10_000 + "4" + "}" * 10_000 + "}",
    "3,000 sums": r"\boxed{" + "1+" * 3000 + "1}",
    "nested fractions": r"\boxed{" + r"\frac{1}{1+" * 300 + "1" + "}" * 300 + "}",
    "nested roots": r"\boxed{" + r"\sqrt{2+" * 300 + "2" + "}" * 300 + "}",
    "a million digits": r"\boxed{" + "9" * 1_000_000 + "}",
    "a sum without end": r"\boxed{\sum_{k=1}^{10^{12}} \sin(k)}",
    "a product without end": r"\boxed{\prod_{k=1}^{10^{9}} k}",
    "an integral nobody does": r"\boxed{\int_0^1 e^{\sin(x^x)} \, dx}",
    "a binomial": r"\boxed{\binom{10^{9}}{5\cdot 10^{8}}}",
    "a polynomial to expand": r"\boxed{(a+b+c+d+e+f)^{200}}",
    "a huge power modulo": r"\boxed{7^{10^{15}} \bmod 1000}",
    "many letters": r"\boxed{" + "x_1 x_2 " * 5000 + "}",
    "a deep index": r"\boxed{" + "x_{" * 2000 + "1" + "}" * 2000 + "}",
}
OTHER = {
    ("(1,2)", "a set for a pair", r"\boxed{\{1,2\}}"),
    ("(1,2)", "a pair backwards", r"\boxed{(2,1)}"),
    ("10\\text{ cm}", "another unit", r"\boxed{10\text{ m}}"),
    ("\\frac{1}{3}", "six digits of a third", r"\boxed{0.333333}"),
    ("\\sqrt{2}", "seven digits of a root", r"\boxed{1.414214}"),
    ("\\pi", "a decimal pi", r"\boxed{3.14159265}"),
    ("x^2+1", "one value of it", r"\boxed{2}"),
    ("\\{1,2,3\\}", "a set with one too many", r"\boxed{\{1,2,3,4\}}"),
    ("\\{1,2,3\\}", "a part of the set", r"\boxed{\{1,2\}}"),
    ("(0,1)", "a closed interval for an open one", r"\boxed{[0,1]}"),
    ("12", "a digit more", r"\boxed{123}"),
    ("0", "a tiny number for zero", r"\boxed{10^{-300}}"),
    ("6x", "a derivative of a square left undone", r"\boxed{\frac{d}{dx} 3x^2}"),
    ("6x", "a derivative with other fractions", r"\boxed{\dfrac{d}{dx}\left(3x^2\right)}"),
    ("6x", "a derivative of a name", r"\boxed{\frac{\mathrm{d}}{\mathrm{d}x} 3x^2}"),
    ("6x", "a partial derivative left undone", r"\boxed{\frac{\partial}{\partial x} 3x^2}"),
    ("\\cos(x)", "a derivative of a sine left undone", r"\boxed{\frac{d}{dx}\sin(x)}"),
    ("0", "a float that vanishes", r"\boxed{1e-400}"),
}
UNREADABLE = {"braces that do not match": "\\frac{1", "nothing": "", "a list": ["5"], "a tower": "9^{9^{9^9}}"}


def attacks() -> list[Any]:
    return [
        *arena.texts(row(), FIVE),
        *arena.texts(row(), HONEST, worth=1.0),
        *arena.texts(row(), UNDONE),
        *arena.texts(row(), BOMBS, bomb=True),
        *(arena.Attack(name=name, row=row(gold), output=said) for gold, name, said in sorted(OTHER)),
        *(
            arena.Attack(name=f"gold: {name}", row=row(gold), output="\\boxed{5}", refused="expected_answer")
            for name, gold in UNREADABLE.items()
        ),
        arena.Attack(
            name="a placeholder",
            row={**row(), "dataset": "x", "_hf_placeholder": {"row": 1}},
            output="\\boxed{5}",
            refused="_hf_placeholder",
        ),
    ]
