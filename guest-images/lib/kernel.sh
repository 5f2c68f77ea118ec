# shellcheck shell=bash
# Takes a bzImage apart. Sourced by ../build.

# Writes the compressed ELF file inside bzImage $1 to $2. QEMU starts it directly (PVH), which saves
# minutes of decompression on an emulated CPU, and tests compare it with what the launcher unpacks. The
# fields are those of the kernel's Documentation/x86/boot.rst.
extract_vmlinux() {
    local setup_sectors offset length start size program
    setup_sectors=$(number_at "$1" $((0x1f1)) 1)
    offset=$(number_at "$1" $((0x248)) 4)
    length=$(number_at "$1" $((0x24c)) 4)
    start=$(((setup_sectors + 1) * 512 + offset))
    # The kernel's build appends the uncompressed size, which decompressors regard as garbage.
    size=$(number_at "$1" $((start + length - 4)) 4)

    dd if="$1" of="$2.packed" bs=1M iflag=skip_bytes,count_bytes skip=$start count=$((length - 4)) status=none
    program=$(decompressor "$2.packed")
    "$program" -dc < "$2.packed" > "$2" || die "$1: cannot decompress the kernel"
    rm "$2.packed"
    [ "$(stat -c %s "$2")" = "$size" ] || die "$1: the kernel does not unpack to the size that it announces"
}

# Prints the unsigned little-endian number of $3 bytes at offset $2 of file $1.
number_at() { od -An -v -t "u$3" -j "$2" -N "$3" "$1" | tr -d ' '; }

# Prints the program that unpacks $1, by its first bytes. Debian's kernels use xz (generic), lz4 and
# zstd (cloud).
decompressor() {
    case $(od -An -v -t x1 -N 4 "$1" | tr -d ' ') in
        fd377a58) echo xz ;;
        02214c18) echo lz4 ;;
        28b52ffd) echo zstd ;;
        *) die "$1: an unknown compression" ;;
    esac
}
