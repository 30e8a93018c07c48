#!/bin/sh
# Makes base.tar, the file system of the base, and archives in context/, which Containerfiles add. Run as root in Debian.
set -eu

umask 022
mkdir base
(
  cd base
  mkdir -p dev proc sys run tmp root srv home/app var/tmp var/lib work
  mkdir -p etc/app opt/tool/releases/1 opt/tool/releases/2 usr/bin usr/lib usr/lib64 usr/sbin usr/local/bin usr/share/doc
  for name in bin lib lib64 sbin; do ln -s usr/$name $name; done
  for name in sh cat chgrp chmod chown cp ln mkdir mv rm rmdir touch; do
    cp -L /usr/bin/$name usr/bin/$name
    # What the loader finds, and the loader itself.
    ldd /usr/bin/$name | grep -o '/[^ ]*' | while read -r file; do
      mkdir -p ".$(dirname "$file")"
      [ -e ".$file" ] || cp -L "$file" ".$file"
    done
  done

  printf 'root:x:0:0::/root:/bin/sh\nwww-data:x:33:33::/srv:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n' >etc/passwd
  printf 'root:x:0:\nwww-data:x:33:\napp:x:1000:\n' >etc/group
  printf 'welcome\n' >etc/motd
  for name in hosts hostname resolv.conf; do : >etc/$name; done
  printf 'secret\n' >etc/app/app.conf
  chmod 0640 etc/app/app.conf
  chmod 0750 etc/app
  chown -R 0:33 etc/app
  ln -s /usr/share/zoneinfo/UTC etc/localtime

  chmod 1777 tmp var/tmp
  chmod 0700 root home/app
  chown 1000:1000 home/app
  printf 'umask 022\n' >root/.profile
  chown 0:33 srv
  chmod 2775 srv
  ln -s /run var/run
  printf 'tool 1\n' >opt/tool/releases/1/tool
  printf 'tool 2\n' >opt/tool/releases/2/tool
  ln -s releases/1 opt/tool/current
  printf 'first\n' >usr/share/first
  ln usr/share/first usr/share/second
  cp usr/bin/cat usr/bin/su
  chmod 4755 usr/bin/su
  cp usr/bin/cat usr/bin/ping
)
# cap_net_raw=ep, as the kernel keeps it (capabilities(7)).
give() {
  python3 -c 'import os, sys
os.setxattr(sys.argv[1], "security.capability", bytes.fromhex("0100000200200000000000000000000000000000"))' "$1"
}
pack() {
  tar --sort=name --numeric-owner --mtime=@0 --xattrs --xattrs-include='*' "$@"
}
give base/usr/bin/ping
pack -C base -cf base.tar .
rm -r base

# An archive with what only archives have.
mkdir -p made/opt/packed/bin made/opt/packed/data
(
  cd made/opt/packed
  printf '#!/bin/sh\necho packed\n' >bin/packed
  chmod 0755 bin/packed
  cp bin/packed bin/capable
  ln bin/packed bin/hard
  ln -s packed bin/soft
  printf 'data\n' >data/file
  chmod 0640 data/file
  chmod 0750 data
  chown -R 33:33 data
)
give made/opt/packed/bin/capable
pack -C made -cf context/packed.tar opt/packed
gzip -n -c context/packed.tar >context/packed.tar.gz

# One that writes below links of the base, and names no directories.
mkdir -p linked/bin linked/lib/app linked/var/run
printf '#!/bin/sh\n' >linked/bin/tool
chmod 0755 linked/bin/tool
printf 'app\n' >linked/lib/app/file
printf 'pid\n' >linked/var/run/pid
pack -C linked -cf context/linked.tar bin/tool lib/app/file var/run/pid
rm -r made linked
