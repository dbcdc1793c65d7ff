#!/usr/bin/env bash
# Sets up the machine of `machine.rs`; runs as root in namespaces of its own.
# Usage: setup SHARED_DIRECTORY ARTIFACTS
set -euo pipefail
shared=$1 artifacts=$2
umask 022

mount --make-rprivate /
mkdir "$shared/layers"
mount -t tmpfs -o mode=755 layers "$shared/layers"
for directory in /etc /srv /home /opt /var /usr/lib /usr/sbin /usr/local; do
    layer=$shared/layers$directory
    mkdir -p "$layer/upper" "$layer/work"
    mount -t overlay overlay -o "lowerdir=$directory,upperdir=$layer/upper,workdir=$layer/work" "$directory"
done
# The artifacts may lie below what is hidden next.
install -D -m 755 "$artifacts/wsgid" /usr/sbin/wsgid
install -D -m 644 "$artifacts/libmod_wsgid.so" /usr/lib/wsgid/mod_wsgid.so
install -D -m 644 "$artifacts/libwsgid_worker.so" /usr/lib/wsgid/wsgid_worker.so
# And from a checkout they are here.
mkdir -p /home/ann/target/release
cp "$artifacts"/{wsgid,libmod_wsgid.so,libwsgid_worker.so} /home/ann/target/release/
mount -t tmpfs -o mode=755 run /run
mkdir -p /run/lock "$shared/tmp"
chmod 1777 /run/lock "$shared/tmp"

# Loopback up: SIOCSIFFLAGS with UP, LOOPBACK and RUNNING.
python3 -c "import fcntl, socket, struct
fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sH14x', b'lo', 0x49))"

# The accounts that the pages speak of; `ann` sits at the `\$` prompt.
account() { # name, number, home
    echo "$1:x:$2:$2::$3:/bin/bash" >> /etc/passwd
    echo "$1:x:$2:" >> /etc/group
    mkdir -p "$3"
    chown "$2:$2" "$3"
}
account ann 61000 /home/ann
account shop 61001 /srv/shop
account blog 61002 /srv/blog

# An httpd as a distribution configures it, without the tools around it.
rm -rf /etc/apache2 /var/log/apache2
mkdir -p /etc/apache2/{mods-enabled,sites-enabled} /var/log/apache2 /var/www/html /run/apache2
modules=/usr/lib/apache2/modules
{
    printf '%s\n' 'ServerRoot /etc/apache2' 'ServerName localhost' 'Listen 80' 'PidFile /run/apache2/apache2.pid'
    printf '%s\n' 'DefaultRuntimeDir /run/apache2' 'DocumentRoot /var/www/html' 'LogLevel info'
    printf '%s\n' 'ErrorLog /var/log/apache2/error.log' 'User www-data' 'Group www-data'
    for module in mpm_event authz_core authz_host authn_core authn_file authz_user auth_basic alias mime dir env \
        setenvif headers rewrite status; do
        echo "LoadModule ${module}_module $modules/mod_$module.so"
    done
    printf '%s\n' 'TypesConfig /dev/null' '<Directory />' 'Require all denied' '</Directory>'
    printf '%s\n' 'IncludeOptional mods-enabled/*.load' 'IncludeOptional sites-enabled/*.conf'
} > /etc/apache2/apache2.conf
echo 'LoadModule wsgi_module /usr/lib/wsgid/mod_wsgid.so' > /etc/apache2/mods-enabled/wsgid.load
cat > /usr/local/sbin/apachectl <<'CONTROL'
#!/bin/sh
# apachectl, for this machine.
case $1 in
    configtest) exec apache2 -f /etc/apache2/apache2.conf -t ;;
    *) exec apache2 -f /etc/apache2/apache2.conf -k "$1" ;;
esac
CONTROL
chmod 755 /usr/local/sbin/apachectl
session() { # home, user
    env -i HOME="$1" USER="$2" TMPDIR="$shared/tmp" LANG=C.UTF-8 \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "${@:3}"
}
(cd /root && session /root root bash) < "$shared/root" &
(cd /home/ann && session /home/ann ann setpriv --reuid 61000 --regid 61000 --clear-groups bash) < "$shared/user" &
touch "$shared/ready"
wait
