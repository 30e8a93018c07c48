"""What stands for paths in the words that users write for other programs."""

def check_placeholders(label, attribute, words, known):
    """Fails for a placeholder that stands for nothing, such as `{image}`.

    A word in double braces, such as `{{range}}`, is a template's.

    Args:
      label: the label of the target.
      attribute: the name of the attribute that the words are from.
      words: a list of strings.
      known: a list of strings, the placeholders that there are, such as `{layout}`.
    """
    for word in words:
        parts = word.split("{")
        for i in range(1, len(parts)):
            name, brace, rest = parts[i].partition("}")
            is_name = brace and name.islower() and name.replace("_", "").isalpha()
            is_doubled = i > 1 and not parts[i - 1] and rest.startswith("}")
            if is_name and not is_doubled and "{" + name + "}" not in known:
                fail("{}: {} has {{{}}} in {}, which stands for nothing: there are {}".format(
                    label,
                    attribute,
                    name,
                    repr(word),
                    ", ".join(known),
                ))

def has_placeholder(words, known):
    """Whether any of the words has any of the placeholders.

    Args:
      words: a list of strings.
      known: a list of strings, the placeholders.

    Returns:
      A bool.
    """
    return bool([word for word in words for placeholder in known if placeholder in word])
