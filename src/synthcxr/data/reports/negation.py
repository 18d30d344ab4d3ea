"""Which findings a sentence states as there, and which as not there: enough to guard a rewriting and to rank sentences.

After NegEx (Chapman et al. 2001, J Biomed Inform 34:301): a trigger negates what follows it, or precedes it, up to the
next word that ends its scope.
"""

import re

FINDING = re.compile(
    r"\b(?:abscess|adenopath\w*|lymphadenopath\w*|air[- ]?space|airspace|"
    r"air-fluid|alveolar|aneurysm\w*|asbestosis|atelecta\w+|"
    r"atheroscler\w+|blunting|bronchiect\w+|bronchitis|bulla\w*|bullous|cabg|"
    r"calcif\w+|cardiomegaly|catheters?|cavit\w+|"
    r"clips?|collapse|congest\w+|consolidat\w+|copd|crowding|cuffing|cysts?|"
    r"cystic|deformit\w+|degenerat\w+|densit\w+|"
    r"device|defibrillator\w*|a?icd|generators?|ports?|lines?|dextroscoliosis|"
    r"dilat\w+|dislocation|displace\w+|ectasia|ectatic|edema|effusions?|elevat\w+|"
    r"emphysem\w*|"
    r"enlarge\w*|eventration|fibro\w+|fissure|fluid|fractures?|fusion|granulo\w+|hernia\w*|hilar prominence|"
    r"hyperexpan\w+|hyperinflat\w+|hyperlucen\w+|hypoinflat\w+|hypoventilat\w+|"
    r"implant|infect\w+|infiltrat\w+|inflamm\w+|"
    r"kyphosis|kyphotic|lesions?|low lung volumes|lucenc\w+|malignan\w+|mass\w*|"
    r"metasta\w+|neoplas\w+|nodul\w+|opacit\w+|"
    r"opacif\w+|osteopen\w+|osteophyt\w*|osteoporo\w+|pacemaker\w*|pectus|picc|plaques?|pleural thickening|pneumonia|"
    r"pneumo\w+|port-a-cath|prominen\w+|prosthe\w+|resect\w+|reticul\w+|rotat\w+|"
    r"scar\w*|sclero\w+|scoliosis|shift\w*|"
    r"spondyl\w+|spur\w*|stent\w*|sternotomy|stimulator|tortuo\w+|tubes?|"
    r"tubercul\w+|tumou?rs?|vascular redistribution|"
    r"valves?|volume loss|wedging|widen\w+|wires?|airspaces? disease|thicken\w+|leads?|hydropneumothorax|"
    r"derrame?\w*|infiltr\w*|cardiomegali\w*|neumoni\w*|neumotorax|atelectasi\w*|"
    r"nodulo?\w*|condensaci\w+|condens|fractur\w*|"
    r"escoliosis|engros\w*|calcificacion\w*|granulom\w*|fibrosis|enfisema|"
    r"epoc|marcapas\w*|cateter\w*|herni\w*|elongaci\w*)\b",
    re.IGNORECASE,
)
BEFORE = re.compile(
    r"\b(?:no|not|without|negative for|free of|clear of|absence of|absent|rather than|denies|neither|nor|never|"
    r"rules? out|ruled out|exclude|excluding|fails? to|cannot|resol\w+|sin|ni|ausencia de|niega|"
    r"no longer|lack of|nonvisualization of|removal of|removed)\b",
    re.IGNORECASE,
)
AFTER = re.compile(
    r"\b(?:(?:is|are|was|were|has been|have been) (?:not|no longer|absent|"
    r"excluded|ruled out|resolved|removed|negative)|"
    r"(?:has|have) (?:\w+ ){0,2}(?:resolved|cleared)|resolved|not (?:seen|identified|present|visualized|demonstrated|"
    r"appreciated|evident))\b",
    re.IGNORECASE,
)
SCOPE_ENDS = re.compile(
    r"[;:?]|\.\s|,\s*(?=(?:mild|moderate|minimal|stable|chronic|old|calcified|"
    r"degenerative|tortuous|low)\b)|\b(?:but|however|although|though|except|"
    r"apart from|other than|aside from|with the exception|"
    r"there (?:is|are)|which|may|could|represent\w*|consistent with|compatible with|secondary to|due to|because|"
    r"pero|salvo|excepto|aunque)\b",
    re.IGNORECASE,
)
NORMAL = re.compile(
    r"\b(?:normal|unremarkable|clear|intact|within (?:normal )?limits|midline|"
    r"negative|sin hallazg\w*|sin alter\w*|libres?|"
    r"well[- ]expanded|not enlarged|no (?:acute|active|evidence)|preserved|symmetric\w*)\b",
    re.IGNORECASE,
)


def stated(sentence: str) -> tuple[frozenset[str], frozenset[str]]:
    """Findings stated as there and as not there, each as written but in lower case."""
    there: set[str] = set()
    absent: set[str] = set()
    for clause in _clauses(sentence):
        triggers = [match.end() for match in BEFORE.finditer(clause)]
        first_negated = min(triggers, default=len(clause))
        trailing = AFTER.search(clause)
        for match in FINDING.finditer(clause):
            negated = match.start() >= first_negated or (trailing is not None and match.end() <= trailing.start())
            (absent if negated else there).add(match[0].lower())
    return frozenset(there), frozenset(absent)


def _clauses(sentence: str) -> list[str]:
    return [part for part in SCOPE_ENDS.split(sentence) if part and part.strip()]


def rank(sentence: str) -> int:
    """How much a sentence tells: 0 a finding that is there, 1 anything else, 2 that something is normal or absent."""
    there, absent = stated(sentence)
    if there:
        return 0
    return 2 if absent or NORMAL.search(sentence) or BEFORE.search(sentence) else 1
