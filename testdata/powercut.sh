#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# powercut.sh PROGRAM [ROUNDS] runs PROGRAM in a virtual machine (qemu without KVM) and
# cuts its power ROUNDS times: it kills qemu while files come in. All that the guest had
# not synced is lost then. After each cut the machine boots again. At the end the script
# compares the ledger with the files and outcomes that it saw before the cuts:
#
#   lost        files that were synced in the tree and have no outcome       must be 0
#   unrecorded  outcomes that were in the ledger before a cut and are gone   must be 0
#   repeated    samples with two outcomes or more, and outcomes that were seen and are
#               others now: those of the last 10 ms     at most ROUNDS x (workers + 2)
#
# It needs these packages: qemu-system-x86, busybox-static, cpio, e2fsprogs.
set -euo pipefail
program=$(realpath "$1") rounds=${2:-5} workers=2
dir=$(mktemp -d)
trap 'kill -9 ${qemu:-} 2>/dev/null || true; rm -rf "$dir"' EXIT
cd "$dir"

# The machine: Debian's kernel, busybox, PROGRAM, and a disk.
kernel=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends:/ {print $2; exit}')
chmod 755 . && apt-get -q download "$kernel" >/dev/null 2>&1
dpkg -x "$kernel"_*.deb kernel
mkdir -p root/{bin,mod,data,proc,sys,dev}
for module in virtio virtio_ring virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk; do
	find kernel -name "$module.ko" -exec cp {} root/mod/ \;
done
cp "$(command -v busybox)" root/bin/busybox
cp "$program" root/bin/certpush
cat >root/certpush.toml <<'EOF'
state = "/data/state"
[admin]
listen = "unix:/admin.sock"
[journal]
min_free = "0"
cut_every = "1s"
[[watch]]
path = "/data/tree"
EOF
cat >root/init <<'EOF'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
for m in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk; do insmod /mod/$m.ko; done
for i in $(seq 50); do [ -b /dev/vda ] && break; sleep 0.1; done
mount -t ext4 /dev/vda /data || { ls /mod /dev; lsmod; poweroff -f; }
mkdir -p /data/tree
sync
phase=$(sed 's/.*phase=\([a-z0-9]*\).*/\1/' /proc/cmdline)
certpush run -t 2 -c /certpush.toml 2>/data/log &
if [ "$phase" = check ]; then
	for i in $(seq 600); do
		sleep 0.2
		certpush status -c /certpush.toml 2>/dev/null | grep -q '^Everything that has settled is pushed' && grep -q 'msg=swept.*why=start' /data/log && break
	done
	certpush verify -c /certpush.toml | grep unaccounted | sed 's/^/VERIFY /'
	cat /data/state/ledger/verdicts.log* | sed 's/^/LEDGER /'
	echo "END OF CHECK"
	sync; poweroff -f
fi
mkdir -p /data/state/ledger
touch /data/state/ledger/verdicts.log
tail -n 0 -F /data/state/ledger/verdicts.log 2>/dev/null | while read -r line; do echo "SEEN $line"; done &
echo READY
i=0
while :; do
	i=$((i + 1))
	name=/data/tree/$phase-$i
	# A file counts as written when it and its name are synced.
	echo "$phase $i" | dd of=$name conv=fsync 2>/dev/null && sync /data/tree && echo "WROTE $name"
done
EOF
chmod 755 root/init
(cd root && find . | cpio -o -H newc --quiet | gzip -1) >initrd
truncate -s 1G disk && mkfs.ext4 -q disk

# boot PHASE LOG starts the machine; its serial line goes to LOG.
boot() {
	qemu-system-x86_64 -m 512 -smp 1 -nographic -no-reboot -nodefaults -serial "file:$2" \
		-kernel kernel/boot/vmlinuz-* -initrd initrd -append "console=ttyS0 quiet panic=-1 phase=$1" \
		-drive file=disk,format=raw,if=virtio,cache=writeback </dev/null >/dev/null 2>&1 &
	qemu=$!
}

# until_line LOG PATTERN waits until a line of LOG matches PATTERN.
until_line() {
	for _ in $(seq 1200); do
		grep -aq "$2" "$1" 2>/dev/null && return
		kill -0 "$qemu" 2>/dev/null || break
		sleep 0.1
	done
	echo "no \"$2\" from the machine:" && tail -n 20 "$1" && exit 1
}

for round in $(seq "$rounds"); do
	boot "cut$round" "cut$round.log"
	until_line "cut$round.log" 'SEEN {'
	sleep "$((RANDOM % 5)).$((RANDOM % 10))"
	kill -9 "$qemu" && wait "$qemu" 2>/dev/null || true
done
boot check check.log
until_line check.log 'END OF CHECK'
wait "$qemu" || true

# The last line of a log may be torn: only lines that match whole count.
cat cut*.log | tr -d '\r' | sed -n 's/^.*WROTE \(\/data\/tree\/[a-z0-9-]*\)$/\1/p' | sort -u >wrote
cat cut*.log | tr -d '\r' | sed -n 's/^.*SEEN \({.*}\)$/\1/p' | grep -o '"at":"[^"]*"' | sort -u >seen
cat cut*.log | tr -d '\r' | sed -n 's/^.*SEEN \({.*}\)$/\1/p' | sort -u >lines
tr -d '\r' <check.log | sed -n 's/^.*LEDGER \({.*}\)$/\1/p' >ledger
grep -o '"path":"[^"]*"' ledger | cut -d'"' -f4 | sort -u >outcomes
grep -o '"at":"[^"]*"' ledger | sort >places
lost=$(comm -23 wrote outcomes | wc -l)
unrecorded=$(comm -23 seen <(sort -u places) | wc -l)
repeated=$(($(uniq -d places | wc -l) + $(comm -23 lines <(sort -u ledger) | wc -l)))
echo "cuts $rounds, files synced $(wc -l <wrote), outcomes seen before a cut $(wc -l <seen), lost $lost, unrecorded $unrecorded, repeated $repeated"
unaccounted=$(grep -ao 'VERIFY *[0-9]*' check.log | tr -dc '0-9')
echo "verify: unaccounted ${unaccounted:-?}"
[ -s wrote ] && [ -s seen ] && [ "$lost" = 0 ] && [ "$unrecorded" = 0 ] && [ "$repeated" -le $((rounds * (workers + 2))) ] && [ "$unaccounted" = 0 ]
