#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# repos.sh FROM TO makes a flat apt repository TO/apt and a yum repository TO/rpm
# of the packages in FROM, signed with the key that GPG_KEY names; without one a
# key for this time alone is made. TO/certpush.asc is its public part.
set -euo pipefail
from=$(realpath "$1")
mkdir -p "$2/apt" "$2/rpm"
to=$(realpath "$2")
if [ -z "${GPG_KEY:-}" ]; then
	GNUPGHOME=$(mktemp -d)
	export GNUPGHOME
	trap 'gpgconf --kill all; rm -rf "$GNUPGHOME"' EXIT
	GPG_KEY="certpush test <test@certpush.invalid>"
	gpg --batch --quiet --passphrase '' --quick-generate-key "$GPG_KEY" default default never
fi
gpg --batch --yes --armor --output "$to/certpush.asc" --export "$GPG_KEY"

cp "$from"/*.deb "$to/apt/"
cd "$to/apt"
dpkg-scanpackages --multiversion . >Packages 2>/dev/null
gzip -9nkf Packages
apt-ftparchive -o APT::FTPArchive::Release::Origin=certpush -o APT::FTPArchive::Release::Label=certpush release . >Release.new
mv Release.new Release
gpg --batch --yes --local-user "$GPG_KEY" --clearsign --output InRelease Release
gpg --batch --yes --local-user "$GPG_KEY" --armor --detach-sign --output Release.gpg Release

cp "$from"/*.rpm "$to/rpm/"
cd "$to/rpm"
createrepo_c --quiet .
gpg --batch --yes --local-user "$GPG_KEY" --armor --detach-sign --output repodata/repomd.xml.asc repodata/repomd.xml
