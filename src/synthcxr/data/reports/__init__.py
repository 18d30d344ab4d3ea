"""Reports to prompts: sections, sentences, what was blacked out, what is not in the picture, and the prompt."""

from synthcxr.data.reports.prompting import NoPrompt, Prompt, load_report, prompt_of

__all__ = ["NoPrompt", "Prompt", "load_report", "prompt_of"]
