#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# icon.pl >certpush.ico draws the program's icon: a sample that is pushed through
# a gate. Whole numbers only, so every machine draws the same bytes.
use strict;
use warnings;

# At a place in a field of 960 by 960: the colour as blue, green, red, or nothing.
sub colour {
	my ($x, $y) = @_;
	my $r = 200; # of the corners
	my $dx = $x < $r ? $r - $x : $x > 960 - $r ? $x - 960 + $r : 0;
	my $dy = $y < $r ? $r - $y : $y > 960 - $r ? $y - 960 + $r : 0;
	return if $dx * $dx + $dy * $dy > $r * $r;
	my $off = abs($y - 480);
	my @white = (0xff, 0xff, 0xff);
	return @white if $x >= 150 && $x < 400 && $off < 70;                        # the shaft
	return @white if $x >= 370 && $x < 640 && $off * 10 < (640 - $x) * 9;       # the head
	return (0x4f, 0xc8, 0xf5) if $x >= 690 && $x < 800 && $off < 300;           # the gate
	return (0x6b, 0x3f, 0x1c);
}

my ($images, $entries, $offset) = ('', '', 6 + 16 * 3);
for my $size (16, 32, 48) {
	my $fine = 8; # samples of a pixel, each way
	my $step = 960 / ($size * $fine);
	my $pixels = '';
	for my $row (reverse 0 .. $size - 1) { # a bitmap begins at the bottom
		for my $col (0 .. $size - 1) {
			my ($seen, @sum) = (0, 0, 0, 0);
			for my $n (0 .. $fine * $fine - 1) {
				my @c = colour(($col * $fine + $n % $fine) * $step, ($row * $fine + int($n / $fine)) * $step) or next;
				$seen++;
				$sum[$_] += $c[$_] for 0 .. 2;
			}
			$pixels .= pack 'C4', (map { $seen ? int($_ / $seen) : 0 } @sum), int(255 * $seen / ($fine * $fine));
		}
	}
	my $mask = "\0" x ($size * int(($size + 31) / 32) * 4); # nothing: the pixels say themselves how much shines through
	my $image = pack('VVVvvVVVVVV', 40, $size, 2 * $size, 1, 32, 0, length($pixels) + length($mask), 0, 0, 0, 0) . $pixels . $mask;
	$entries .= pack 'CCCCvvVV', $size, $size, 0, 0, 1, 32, length $image, $offset;
	$offset += length $image;
	$images .= $image;
}
binmode STDOUT;
print pack('vvv', 0, 1, 3), $entries, $images;
