"""Where trainers look for the helper that starts a gym."""

from nemo_gym.cli.env import RunHelper
from nemo_gym.global_config import GlobalConfigDictParserConfig

__all__ = ["GlobalConfigDictParserConfig", "RunHelper"]
