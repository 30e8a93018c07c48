"""The scanners that a build is set to."""

load("//oci/private/providers:scan.bzl", "OCIScannerGroupInfo", "OCIScannerInfo")

def scanners_of(target):
    """The scanners of a build.

    Args:
      target: what `//oci:scanner` is.

    Returns:
      A list of OCIScannerInfo, empty where no scanner is set; None where one runs on none of the execution platforms.
    """
    if OCIScannerGroupInfo in target:
        return target[OCIScannerGroupInfo].scanners
    if OCIScannerInfo not in target:
        return None
    scanner = target[OCIScannerInfo]
    return [scanner] if scanner.kind else []
