# shellcheck shell=bash
# Copies the few kernel modules that an image needs out of the thousands in a kernel package. Sourced by
# ../build.

# Copies the modules in list $3 and their dependencies from the tree $1 of kernel release $2 to $4, and
# indexes them for modprobe. Built-in modules need no copy.
stage_modules() {
    local root=$1 release=$2 list=$3 staged=$4 from=$1/lib/modules/$2 to=$4/lib/modules/$2 name
    # Since Debian 13 modules are compressed. The guest should not spend time on unpacking them.
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

    # depmod lists modules in the order of the directory, which differs between copies.
    "$root/bin/busybox" depmod -b "$staged" "$release"
    for name in "$from" "$to"; do
        sort -o "$name/modules.dep" "$name/modules.dep"
        sort -o "$name/modules.alias" "$name/modules.alias"
        sort -o "$name/modules.symbols" "$name/modules.symbols"
    done
}
