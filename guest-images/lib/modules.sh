# shellcheck shell=bash
# The few kernel modules an image needs, out of the thousands that a kernel package has.
# Sourced by ../build.

# Copies the modules named in list $3, with those they depend on, from the tree $1 of kernel
# release $2 to $4, and indexes them for modprobe. What the kernel has built in needs no copy.
stage_modules() {
    local root=$1 release=$2 list=$3 staged=$4 from=$1/lib/modules/$2 to=$4/lib/modules/$2 name
    # From Debian 13 on modules come compressed; the guest should not spend its time on that.
    find "$from" -name '*.ko.xz' -exec xz -d {} +
    "$root/bin/busybox" depmod -b "$root" "$release" 2> /dev/null
    grep '\.ko:' "$from/modules.dep" > "$from/dependencies"

    mkdir -p "$to"
    sed 's/#.*//' "$list" | while read -r name; do
        [ -n "$name" ] || continue
        grep -q "/$name\.ko$" "$from/modules.builtin" && continue
        grep "/$name\.ko:" "$from/dependencies" || die "$list: the kernel $release has no module $name"
    done | tr -s ': ' '\n' | sort -u > "$from/wanted"
    (cd "$from" && xargs cp --parents -t "$to" < wanted)
    rm "$from/dependencies" "$from/wanted"

    # depmod lists in the order of the directory, which is not the same twice.
    "$root/bin/busybox" depmod -b "$staged" "$release"
    for name in "$from" "$to"; do
        sort -o "$name/modules.dep" "$name/modules.dep"
        sort -o "$name/modules.alias" "$name/modules.alias"
        sort -o "$name/modules.symbols" "$name/modules.symbols"
    done
}
