"""The program of a scanner, which is given, or in an image."""

load(":oci_image_file.bzl", "oci_image_file")

def scanner_program(name, image, program, path, attributes = ("image", "program")):
    """Names the program, and makes it if it is in an image.

    Args:
      name: the name of the target that makes it.
      image: the label of the image, or None.
      program: the label of the program, or None.
      path: where the image has it.
      attributes: what the two are called.

    Returns:
      A label.
    """
    if bool(image) == bool(program):
        fail("{}: give either {} or {}".format(name, *attributes))
    if not image:
        return program
    oci_image_file(
        name = name,
        image = image,
        path = path,
        tags = ["manual"],
        visibility = ["//visibility:private"],
    )
    return name
