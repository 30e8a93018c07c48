#!/bin/sh
echo "serving on port $APP_PORT"
