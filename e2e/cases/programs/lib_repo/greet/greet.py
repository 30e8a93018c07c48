import pathlib


def greeting():
    return (pathlib.Path(__file__).parent / "words.txt").read_text().strip()
