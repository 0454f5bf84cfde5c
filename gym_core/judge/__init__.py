"""The one way to ask a language model for a judgement, wherever a verdict needs one.

    [judge] ─▶ JudgeClient ─▶ Judge (one verdict's) ─▶ Protocol: gate ─▶ prompt ─▶ endpoint ─▶ parse ─▶ both orders

    async with JudgeClient(load(JudgeConfig, file="palaestra.toml", section="judge")) as client:
        judge = client.judge(limit_s=60)
        ruling = await judge.ask(EQUIVALENCE, question=q, first=gold, second=answer)     # ruling.value: True | False
        verdict.details["judge"] = judge.account.details()

A protocol is data and a parser (`protocol`; three of them in `protocols`, lists of questions in `rubric`). What the
policy wrote is gated before it costs a call (`gates`) and can hold neither labels nor the marks around it (`labels`). A
judge that cannot be asked or understood is a `JudgeFault`, never a reward. Environments do not make a client: they
write `async def judge(...)`, see `gym_core.environment`.
"""
