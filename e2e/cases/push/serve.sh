#!/bin/sh
echo "serving"
