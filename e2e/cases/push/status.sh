#!/bin/sh
echo "BUILD_USER_NUMBER 17"
