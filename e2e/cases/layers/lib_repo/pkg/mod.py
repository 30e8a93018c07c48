X = "from another repository"
