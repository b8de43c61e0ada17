#!/bin/sh
# Makes a stand-in for the Python base image from the machine's own Debian mirror: base.sh TAG
# For machines that reach no image registry. Debian's python3 takes the place of /usr/local's.
set -eu
tag=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mirror=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT) $(CREATED_BY)' |
    awk '$2 == "bookworm" && $3 == "main" && $4 == "Packages" { print $1; exit }')
debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates,passwd \
    bookworm "$work/root" $mirror
rm -rf "$work"/root/var/cache/apt/* "$work"/root/var/lib/apt/lists/*
ln -s /usr/bin/python3 "$work/root/usr/local/bin/python3"
ln -s python3 "$work/root/usr/local/bin/python"
tar -C "$work/root" -cf "$work/root.tar" .

container=$(buildah from scratch)
buildah add --quiet "$container" "$work/root.tar" /
buildah config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
buildah commit --quiet --rm --format docker "$container" "$tag"
