"""The words of the pages, all in one place. They are those of the command line."""

TITLE = "synthcxr"
NOT_FOR_DIAGNOSIS = "Synthetic — not for diagnosis"
FOOTER = "Images drawn here are synthetic: not of persons, not for diagnosis."

PAGES: dict[str, tuple[str, str]] = {
    "home": ("Home", "Synthetic chest X-rays that can be defended."),
    "data": ("Data", "Turn X-rays and what is known of them into a checked dataset."),
    "train": ("Train", "Teach a model your X-rays: a small adapter on a base, or the whole of it."),
    "generate": ("Generate", "Draw a set of synthetic X-rays, each with its own seed and its provenance inside."),
    "clean": ("Clean", "Remove burned-in text, change nothing else, and keep the proof."),
    "evaluate": ("Evaluate", "How realistic, varied, useful and private a set is, each figure with its interval."),
    "study": ("Study", "A blinded reading: can your readers tell real X-rays from synthetic ones?"),
    "jobs": ("Jobs", "Everything that runs, waits or is done. It goes on when you close this page."),
}
"""Name and one line of each page, in the order of the road."""

STEPS = (
    ("generate", "Draw", "Draw a first set with the model that is here already. It takes a minute."),
    ("data", "Bring your own", "Upload X-rays, or put a folder into the workspace, and make a dataset of them."),
    ("evaluate", "Judge", "See how near the set comes to real patients, and whether it copies any."),
)
"""The three steps of the first page."""

EDIT = ("Edit", "Draw an image, or a region of it, anew by a prompt; outside of the region nothing changes.")
EMPTY: dict[str, str] = {
    "home": "Nothing is here yet. Begin with one of the three steps above.",
    "data": "There is no dataset yet. Upload images above, or copy a folder to “uploads” in the workspace.",
    "train": "There is no run yet. A run needs a dataset; make one on the page Data.",
    "generate": "There is no set yet. Write a prompt above and draw one.",
    "clean": "Nothing has been cleaned yet. Choose a set, a dataset or an upload above.",
    "edit": "Open an image of a set, a dataset or an upload, and choose “Edit” there.",
    "evaluate": "There is no report yet. Choose a set above, and what to judge it by.",
    "study": "There is no study yet. A study needs a dataset of real X-rays and a set.",
    "jobs": "No job has been started yet.",
}
STATES = {"waiting": "waits", "running": "runs", "done": "done", "failed": "failed", "cancelled": "stopped"}
ACTS = {
    "cancel": "Stop",
    "retry": "Try again",
    "forget": "Take off the list",
    "copy": "Copy as command",
    "again": "Again",
    "vary": "Vary",
    "edit": "Edit",
    "save": "Save",
}
START = {
    "prepare": "Make the dataset",
    "train": "Train",
    "generate": "Draw",
    "edit": "Draw anew",
    "clean": "Clean",
    "evaluate": "Judge",
    "study new": "Set up the study",
}
NAME_LABEL, NAME_HELP = "Name", "What the result is called in the workspace."
MORE_OPTIONS = "More options"
CHOOSE = "– choose –"
DEFAULT = "default"
UPLOAD = "Drop PNG, JPEG or DICOM files here, or choose them"
LOGIN, PASSWORD = "Log in", "Password"
BUILDER = "Build a prompt"
FINDINGS = (
    "Effusion",
    "Pneumonia",
    "Atelectasis",
    "Consolidation",
    "Cardiomegaly",
    "Edema",
    "Infiltration",
    "Pneumothorax",
)
MAKING = "How it was made"
BEFORE_AFTER = "Before and after"
DRAW_BOX = (
    "Draw a box on the image with the mouse, or write it below as X,Y,WIDTH,HEIGHT; without one all of it changes."
)
COMPARE, FIGURE = "Compare", "Figure"
COMPARE_TWO = "Choose two or more reports on the page Evaluate."
COMPARE_NOTE = (
    "Intervals that overlap do not show that two sets are alike, nor does one pair out of many show a difference."
)
NOT_ALIKE = "These sets were not judged by the same real images: their figures cannot be compared."
READERS, LINKS, ANALYZE = "Readers", "Make new links for the readers", "Analyze"
HERE, WORKSPACE, MACHINE = "Here already", "In the workspace", "This machine"
MEASURING = "It is being measured; look again in a minute."
