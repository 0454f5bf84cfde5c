"""The cheapest verdict there is, so that a benchmark measures the way and not the destination."""

from gym_core.environment import Environment


class Echo(Environment):
    """Answer with the letter that was asked for."""

    name = "echo"

    def make(self, rng, level):
        letter = rng.choice("ABCDEFGH")
        filler = " ".join(str(rng.randrange(10**6)) for _ in range(180))
        return {"prompt": f"Answer with {letter}. {filler}", "letter": letter}

    def verify(self, task, session, reply):
        return float(reply.text.strip()[:1] == task["letter"])

    def oracle(self, task):
        return task["letter"]
