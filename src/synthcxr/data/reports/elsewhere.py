"""What is not in the picture beside earlier images: history, advice, calls, technique, and views that are not shown."""

import re

from synthcxr.data.reports.rules import reasons, rephrasings

_PICTURE = r"(?:views?|radiographs?|projections?|images?|films?|examinations?|exams?|x-?rays?|x-XXXX|study|studies)"
_FRAMES = (
    r"(?:(?:frontal|pa|ap|lateral|portable|upright|supine|semi-?erect|erect|single|"
    r"one|two|three|XXXX|multiple|and|the|a|an|of|chest|posteroanterior|anteroposterior|"
    r"\d|\([^)]*\))[ ,/-]*)+"
)
_SHOWS = r"(?:shows?|demonstrates?|reveals?|showed|demonstrated|revealed)"
_ADVICE = (
    r"(?:(?:clinical |imaging )?correlat\w+|recommend\w*|follow-? ?up|advise\w*|"
    r"short[- ]term|please|suggest (?:clinical|further|follow|ct|repeat)|"
    r"(?:consider|suggest)\b (?:an? )?(?:further|follow\w*|repeat|dedicated|"
    r"ct|chest|oblique|short|correlat\w+|comparison|XXXX|imaging|nonemergent|"
    r"lateral|pa)|"
    r"if (?:clinically|indicated|there|concern|desired|needed|warranted|further|clinical|any))"
)

REPHRASED = rephrasings(
    ("technique", rf"^{_FRAMES}{_PICTURE}(?: of the chest)? {_SHOWS} (?:that )?(?:an? |the )?", ""),
    (
        "technique",
        r",? ?\b(?:(?:when )?(?:considering|accounting for|given|allowing for)|"
        r"for|despite) (?:the )?(?:differences? in )?(?:(?:patient )?position and )?(?:ap |"
        r"portable )*(?:technical (?:factors|differences)|technique)(?: and (?:\w+ )?(?:rotation|"
        r"positioning|projection))?,? ?(?=[,.;]|$)",
        "",
    ),
    (
        "technique",
        r"^(?:considering|accounting for|given|allowing for) (?:the )?(?:differences? in )?(?:ap |"
        r"portable )*(?:technical (?:factors|differences)|technique)(?: and (?:patient )?(?:rotation|"
        r"position\w*|projection))?,? ",
        "",
    ),
    (
        "two views",
        rf",? ?\(?(?:as |and )?(?:seen |visualized |noted |identified )?(?:both )?(?:on|"
        rf"in) (?:both )?(?:the )?(?:frontal|pa|ap) and (?:the )?lateral(?: {_PICTURE})?\)?",
        "",
    ),
    (
        "one view",
        rf",? ?(?:(?:seen|visualized|noted|identified) )?(?:(?:only|best) )?on (?:the )?(?:frontal|"
        rf"pa|ap) {_PICTURE}\b",
        "",
    ),
    (
        "reference inside",
        r",? ?\b(?:as )?(?:described|discussed|noted|mentioned|detailed) (?:above|"
        r"below)\b|,? as above\b",
        "",
    ),
    (
        "history",
        r",? ?\b(?:in keeping|consistent|compatible|in accordance) with (?:the )?(?:patient'?s )?(?:given "
        r"|known |clinical )*history\b[^,;.]*|,? ?\brelated to history of[^,;.]*",
        "",
    ),
    (
        "history",
        r",? ?\b(?:given|per|based on|considering) (?:the |an? )?(?:patient'?s )?(?:clinical |"
        r"known |provided )*(?:history|presentation|symptoms|age)\b[^,;.]*",
        "",
    ),
    ("history", r"\b(?:the )?(?:patient'?s )?known ", ""),
    ("history", r"^(?:the )?patient has (?=(?:stable|unchanged|persistent|an? |mild|small|bilateral|XXXX))", ""),
    ("history", r"^(?:the )?patient is (?=(?:status )?post)", ""),
    ("advice", rf"(?:[,;]| -) (?:and |but |however,? |which |with (?:possible )?)*{_ADVICE}\b.*$", ""),
)
"""Named rules that take such words out of a sentence, in their order."""

CALLS = reasons(
    (
        "communication",
        r"\bdiscuss\w*\b(?! (?:above|below))|\bcommunicat(?:ed|ion)\b(?! between)|"
        r"\bconveyed\b|\bnotif\w+|\btelephon\w+|\bby phone\b|\bpaged?\b|\bcalled (?:to|"
        r"by|at|in)\b|\bdr\b|\bdrs\b|\bphysicians?\b|\bclinician\b",
    ),
    (
        "communication",
        r"\bdictat\w+|\bsigned\b|\btranscri\w+|\bi have\b|\bmy interpretation\b|"
        r"\battending\b|\bresident\b|\bradiologist\b|\bcritical result|\bprimordial\b|"
        r"\bveriphy\b|\b[ap]\.?m\.?(?=\W|$)(?<=\d m|[ap]\.m)|\bfindings were (?:reported|"
        r"relayed|given)|\bemergency (?:room|department)\b|\btechnologist\b",
    ),
)
"""Who was told what, and who signed: no part of a prompt whatever the options."""

DROPPED = reasons(
    (
        "advice",
        r"\brecommend\w*|\badvis(?:e|ed|able)\b|\bfollow-? ?(?:up|ups)\b|\bfollowing this\b|"
        r"\bcorrelat(?:e|ed|ion)\b|\bwarranted\b|\bplease\b|\bwould benefit\b|"
        r"\bclinically\b|\bclinical (?:correlation|concern|setting|context)\b|"
        r"\bverification\b|\bwould be (?:helpful|useful)\b|\bbone scan\b",
    ),
    (
        "advice",
        r"\bsuggest(?:ed|s)? (?:clinical|further|follow|ct|repeat|correl)|\b(?:is|"
        r"are) suggested\b|\bconsider (?!focal|mild|early|patchy|small)|\b(?:should|"
        r"could|may|can|might) be (?:considered|obtained|performed|helpful|useful|"
        r"of (?:value|benefit|further)|followed|necessary|needed|warranted|evaluated|"
        r"XXXX)|\bif (?:clinically|indicated|there|concern|desired|needed|one|"
        r"none|further|outside|attention|not)\b|\bfurther (?:evaluat|imaging|"
        r"characteri|work|assess|XXXX|clarif)\w*|\bfor confirmation\b|\bone (?:may|"
        r"would|could) ",
    ),
    (
        "history",
        r"\bhistory\b|\byears?[- ]old\b|\bindication\b|\bsymptoms?\b|\bpresent(?:s|"
        r"ed|ing) with\b|\bpatient'?s (?:known|history|symptom)|\bpatient (?:has|"
        r"had|have|reports|complains|denies|underwent|should|is (?!rotat|also rotat|"
        r"mildly|slightly|markedly|status|oblique|somewhat|obese|tilt|kyphotic|"
        r"scoliotic))",
    ),
    (
        "technique",
        rf"\b(?:was|were|is|are) (?:obtained|performed|submitted|provided|acquired|"
        rf"presented|repeated|reviewed|interpreted)\b|\bexamination consists\b|"
        rf"^{_FRAMES}{_PICTURE}(?: of the chest)?\.?$|\b(?:limited|suboptimal|"
        rf"nondiagnostic|incomplete) (?:\w+ )?(?:stud\w+|exam\w*|evaluation|assessment|"
        rf"view|by)\b|\b(?:evaluation|assessment|exam\w*|study) (?:\w+ ){{0,4}}(?:limited|"
        rf"suboptimal)\b|\btechni(?:que|cal)\b|\b(?:not|were not) available\b|"
        rf"\bnone available\b|\bunderpenetrat\w+",
    ),
    (
        "reference inside",
        r"\b(?:as|described|discussed|see|seen) (?:above|below)\b|\babove(?:-mentioned|"
        r" findings)|\bsee (?:findings|report|impression)\b|\baddend\w+",
    ),
    (
        "other examination",
        r"\b(?:ct|cta|mri|mr|ultrasound|sonograph\w+|echocardiogra\w+|mammogra\w+|"
        r"scintigra\w+)\b(?! [a-z]*port)|\bcomputed tomogra\w+",
    ),
)
"""Reasons for which a sentence goes after the rules above."""

LATERAL = reasons(
    ("lateral view", rf"^(?:on |in )?(?:the )?(?:cross.table )?lateral (?:chest )?{_PICTURE}"),
    (
        "lateral view",
        rf"\b(?:lateral|swimmer'?s?|oblique|decubitus)\s+(?:chest )?(?:{_PICTURE}|"
        rf"XXXX|only)\b|\b(?:on|in|with) (?:the )?(?:cross.table )?lateral\b(?! (?:left|"
        rf"right|aspect|chest|rib|portion|costo|sul|hemi|mid|upper|lower|lung|margin))",
    ),
)
"""What only a lateral view shows, where the picture is a frontal one."""
NOT_ON_LATERAL = re.compile(
    rf",? ?(?:(?:which|that) )?(?:(?:is|are|was|were) )?not (?:(?:definitely|clearly|well) )?"
    rf"(?:seen|evident|visualized|identified|appreciated|apparent) on (?:the )?lateral(?: (?:{_PICTURE}|"
    rf"XXXX))?(?=[.,;]|$)",
    re.IGNORECASE,
)
"""What says that a lateral view lacks a finding, and so nothing against it on the frontal one."""
LATERAL_VIEWS = re.compile(r"^(?:l|ll|lat\w*|rl|xtable)$", re.IGNORECASE)
"""How sources write the lateral view."""

SPANISH_DROPPED = reasons(
    (
        "earlier image",
        r"\b(?:compar\w*|comp|respect\w*|previ[oa]?s?|(?:estudi|radiografi|imag)\w* anterior(?:es)?|"
        r"control|evoluci?o?n?\w*|persist\w*|ya conocid\w*|ultim\w* estudi\w*)\b",
    ),
    (
        "change",
        r"\b(?:sin|no|escas\w*) (?:\w+ ){0,2}cambi\w*|\bmejori\w*|\bempeor\w*|"
        r"\bresol\w*|\bresuelt\w*|\bdesapar\w*|\bvariaci?o?n?\w*|\bretirad\w*|"
        r"\bretir\b|\bnuev\w*|\bestable\w*|\baumento? respect|\bha (?:aument|"
        r"disminu)\w*",
    ),
    (
        "history",
        r"\b(?:motiv\w* consult\w*|antecedent\w*|dat\w* (?:clinic\w*|de la peticion)|"
        r"anos de edad|sospech\w*)\b",
    ),
    (
        "advice",
        r"\brecom\w*|\bvalorar\b|\bvalor con\b|\bse aconseja\b|\bconviene\b|\bcorrelacion\w*|"
        r"\bcontrol\b|\bcit tc\b|\bcompletar?\b|\btc\b|\btac\b",
    ),
    (
        "technique",
        r"\bradiografi\w* (?:de )?torax\b|\bproyecci\w*\b|\bestudio? (?:realiz\w*|"
        r"portatil)|\brx (?:de )?torax\b|^conclusi\w*\W*$|^informe?\W*$",
    ),
)
"""The same for Spanish reports, whole words or stems, with accents taken away; nothing is rephrased in them."""
