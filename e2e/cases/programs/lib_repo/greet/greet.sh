greeting() { cat "${BASH_SOURCE[0]%/*}/words.txt"; }
