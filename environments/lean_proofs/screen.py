"""What a candidate may not write, asked of its words before Lean sees any of them.

A proof needs terms, tactics and helper lemmas. It needs nothing that changes how Lean reads or runs what follows: no
new syntax, no code that runs while Lean elaborates, no axioms, no options, no other namespace. Known ways around a
prover (`axiom cheat : False`, `macro` over `#print axioms`, `run_tac … addDecl`, `sorryAx` put together) all need one
of the words below. What passes is still only a candidate: `audit.py` asks the kernel.
"""

from __future__ import annotations

import re
import unicodedata

from environments.lean_proofs.lexer import Token, balanced, tokens

MAX_CHARACTERS = 100_000

# fmt: off
_FAKES = ("sorry", "admit", "sorryAx", "stop", "proof_wanted")
_TRUST = (
    "native_decide", "native", "ofReduceBool", "ofReduceNat", "reduceBool", "reduceNat", "trustCompiler",
    "implemented_by", "extern", "csimp", "unsafe", "unsafeCast", "unsafeIO", "lcProof", "lcUnreachable", "opaque",
    "axiom", "axioms", "constant", "partial", "implicit_reducible", "bv_decide", "bv_check", "ofBoolEqTrue",
)
_CODE = (
    "Lean", "Elab", "Meta", "MetaM", "TacticM", "TermElabM", "CommandElabM", "CoreM", "MacroM", "IO", "FS", "Process",
    "run_cmd", "run_elab", "run_meta", "run_tac", "run_conv", "by_elab", "elab_stx", "eval_expr", "dbg_trace",
    "dbgTrace", "include_str", "initialize", "builtin_initialize", "addDecl", "simproc", "dsimproc", "simproc_decl",
    "polyrith", "meta", "logInfo",
)
_SYNTAX = (
    "macro", "macro_rules", "syntax", "declare_syntax_cat", "elab", "elab_rules", "notation", "notation3", "infix",
    "infixl", "infixr", "prefix", "postfix", "binder_predicate", "unif_hint", "deriving", "register_option",
    "declare_config_elab", "grind_pattern", "quote",
)
_SCOPE = (
    "import", "open", "namespace", "section", "end", "mutual", "export", "set_option", "attribute", "instance",
    "local", "scoped", "universe", "variable", "include", "omit", "public", "module", "protected", "alias", "class",
    "unseal", "seal", "library_note", "add_decl_doc", "suppress_compilation", "noncomputable_section",
)
# fmt: on
FORBIDDEN = {word: "pretends a proof" for word in _FAKES}
FORBIDDEN |= {word: "trusts something other than the kernel" for word in _TRUST}
FORBIDDEN |= {word: "runs code while Lean elaborates" for word in _CODE}
FORBIDDEN |= {word: "changes what is read as what" for word in _SYNTAX}
FORBIDDEN |= {word: "changes the surroundings of the statement" for word in _SCOPE}

DEEP = frozenset((*_FAKES, *_TRUST, *_CODE)) - {"constant", "partial", "opaque", "stop", "meta", "native", "axioms"}
"""Words that are refused as a part of a longer name too (`Lean.ofReduceBool`); the others are keywords, and a lemma may
well be called `Foo.prefix`."""

COMMANDS = ("theorem", "lemma", "def", "abbrev", "example", "structure", "inductive", "private", "noncomputable")
PRELUDE = ("theorem", "lemma", "def", "abbrev", "private", "noncomputable")
"""How a helper may begin."""

_ODD = {"Cf", "Co", "Cs", "Cn", "Zl", "Zp"}
_GLUED = re.compile(r"(?:eval|type_of|elab|run|by_elab|decl_name)%")


def refusal(prelude: str, proof: str) -> str:
    """Why this candidate is not even compiled, "" where it may be. Both texts have no comments."""
    code = f"{prelude}\n{proof}"
    if len(code) > MAX_CHARACTERS:
        return f"longer than {MAX_CHARACTERS} characters"
    for character in code:
        if not character.isascii() and unicodedata.category(character) in _ODD:
            return f"the invisible character U+{ord(character):04X}"
        if character < " " and character not in "\n\t\r":
            return f"the control character U+{ord(character):04X}"
    before, within = tokens(prelude), tokens(proof)
    said = _words(before) or _words(within) or _glued(code)
    if said:
        return said
    if not balanced(before) or not balanced(within):
        return "brackets that do not close"
    return _helpers(before) or _one_theorem(within)


def _words(found: list[Token]) -> str:
    for number, token in enumerate(found):
        if token.text in ('"', "`", "«", "»"):
            return f"{token.text!r}: texts and quotations are not needed in a proof"
        if token.text == "@" and number + 1 < len(found) and found[number + 1].text == "[":
            return "`@[…]`: attributes change how Lean treats a declaration"
        if token.text == "#" and number + 1 < len(found) and found[number + 1].kind == "name":
            return f"`#{found[number + 1].text}`: a command that is no proof"
        if token.kind == "name" and token.text in FORBIDDEN:
            return f"`{token.text}` {FORBIDDEN[token.text]}"
        if token.kind in ("name", "field"):
            for part in token.parts:
                if part.rstrip("!?") in DEEP:
                    return f"`{token.text}` {FORBIDDEN[part.rstrip('!?')]}"
    return ""


def _glued(code: str) -> str:
    found = _GLUED.search(code)
    return f"`{found[0]}` runs code while Lean elaborates" if found else ""


def _helpers(found: list[Token]) -> str:
    """Before the theorem there are helpers, each from the first column on, and nothing else."""
    if found and found[0].text not in PRELUDE:
        return f"before the theorem there may be helper lemmas and definitions, not `{found[0].text}`"
    for token in found:
        if token.text in COMMANDS and token.text not in PRELUDE:
            return f"`{token.text}` is no helper lemma"
        if token.column == 0 and token.kind == "name" and token.text not in (*PRELUDE, "where", "by", "termination_by"):
            if token.text in ("decreasing_by", "fun", "match", "have", "show", "calc", "let", "if"):
                continue
            return f"`{token.text}` in the first column is no helper lemma"
    return ""


def _one_theorem(found: list[Token]) -> str:
    for token in found:
        if token.kind == "name" and token.text in COMMANDS:
            return f"`{token.text}` after the theorem: a proof ends where the block ends"
    return ""
