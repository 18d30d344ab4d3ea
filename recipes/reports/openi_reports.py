"""The reports of the Indiana University collection to prompts: outcomes counted, negations checked, samples to read.

    python recipes/reports/openi_reports.py NLMCXR_reports.tgz --style findings [--sample 100 --seed 1]

The text is CC BY-NC-ND 4.0: what this prints of it with --sample is for reading, and goes nowhere else.
"""

import argparse
import random
import tarfile
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

from negex import never_named, silent, turned_round

from synthcxr.data.records import Record
from synthcxr.data.reports import NoPrompt, prompt_of
from synthcxr.data.reports.deidentification import LEFT_OVER
from synthcxr.data.reports.tokens import token_counter
from synthcxr.prompts import Subject
from synthcxr.seeds import seed_for

MEASURES = ("turned round", "never named", "token left", "too long")


def read_reports(archive: Path) -> dict[str, str]:
    """File name to the text of its sections, COMPARISON, INDICATION, FINDINGS and IMPRESSION under their headings."""
    reports = {}
    with tarfile.open(archive) as files:
        for member in files:
            content = files.extractfile(member) if member.name.endswith(".xml") else None
            if content is not None:
                sections = ElementTree.parse(content).getroot().iter("AbstractText")
                reports[member.name] = "\n\n".join(f"{s.get('Label')}: {(s.text or '').strip()}" for s in sections)
    return dict(sorted(reports.items()))


def main() -> None:
    """Count and check, or print a sample."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--style", default="findings", choices=("findings", "impression", "mixture"))
    parser.add_argument("--priors", default="drop", choices=("drop", "keep"))
    parser.add_argument("--tokenizer", default="bundled")
    parser.add_argument("--sample", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    counter = token_counter(options.tokenizer)
    reports = read_reports(options.archive)
    names = random.Random(options.seed).sample(list(reports), options.sample) if options.sample else list(reports)
    outcomes: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    rules: Counter[str] = Counter()
    faults = Counter(dict.fromkeys(MEASURES, 0))
    for number, name in enumerate(names, 1):
        record = Record(name, report=reports[name], subject=Subject(age=58, sex="M", view="PA"))
        rng = random.Random(seed_for(options.seed, name))
        result = prompt_of(record, options.style, options.priors, counter, counter.limit, rng)
        dropped += result.dropped
        if options.sample:
            answer = result.reason if isinstance(result, NoPrompt) else result.text
            print(f"--- {number} {name}", reports[name].partition("FINDINGS:")[2], f"  => {answer}", sep="\n")
        if isinstance(result, NoPrompt):
            outcomes[f"no prompt: {result.rule}"] += 1
            continue
        outcomes[f"{result.style} from {result.section or 'no section'}"] += 1
        outcomes["of these, with a finding unsaid"] += result.unsaid > 0
        rules.update(rule for sentence in result.sentences for rule in sentence.rules)
        body = " ".join(sentence.text for sentence in result.sentences)
        said = reports[name].partition("FINDINGS:")[2]  # an indication's suspicions affirm nothing
        found = (
            turned_round(said, body),
            never_named(said, body),
            LEFT_OVER.search(result.text),
            counter(result.text) > counter.limit,
        )
        for measure, fault in zip(MEASURES, found, strict=True):
            if fault:
                faults[measure] += 1
                print(f"{measure}: {name} {sorted(fault) if isinstance(fault, set) else ''}")
        findings, _, impression = said.partition("\n\nIMPRESSION:")
        faults["names no finding of its section"] += bool(
            silent(findings if result.section == "findings" else impression, body)
        )
    for title, counts in (("Outcomes", outcomes), ("Dropped", dropped), ("Rephrased", rules), ("Faults", faults)):
        print(f"\n{title} ({len(names)} reports)")
        for key, count in counts.most_common():
            print(f"{count:7,} {key}")


if __name__ == "__main__":
    main()
