"""Libraries that talk more than a person can use."""

import warnings


def quiet() -> None:
    """Keep diffusers and transformers from printing advice that does not concern a user of this tool."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    diffusers_logging.set_verbosity_error()
    diffusers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    warnings.filterwarnings("ignore", module="diffusers|transformers|peft")
