#include <fstream>
#include <iostream>
#include <string>

#include "greet/greet.h"

int main(int, char **argv) {
  std::ifstream data(std::string(argv[0]) + ".runfiles/_main/data.txt");
  std::cout << greeting() << "\n" << data.rdbuf();
}
