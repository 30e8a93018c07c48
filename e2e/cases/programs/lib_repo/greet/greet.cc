#include "greet/greet.h"

const char *greeting() { return "greetings of another repository"; }
