"""From a DICOM file to a picture as a radiologist would see it, and the few header fields that training needs.

`file` opens it within limits, `header` reads and judges its fields, `codestream` and `pixels` give the stored values,
`display` makes grey levels of them. No text of a header goes into a reason or a note: any field may hold a name.
"""
