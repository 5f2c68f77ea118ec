# shellcheck shell=bash
# Uses Debian packages without being root: which version apt would install, its .deb, its files. Sourced
# by ../build, which defines $cache, say and die.
: "${cache:?}"

# Asking apt takes seconds, so the answer is cached in a file, one package per line:
#
#   linux-image-cloud-amd64 6.1.192-2 linux-image-6.1.0-56-cloud-amd64
#   name                    version   the kernel that a meta package stands for
#
# The file is renewed when apt's lists have changed.
resolved_file=$cache/resolved

resolve_packages() {
    local name answer=
    [ ! -s "$resolved_file" ] || [ "$resolved_file" -ot /var/lib/apt/lists ] || return 0
    say "asking apt for the versions of $*"
    for name in "$@"; do
        answer+=$({ apt-cache show --no-all-versions "$name" 2> /dev/null || true; } | awk -v name="$name" '
            $1 == "Version:" { version = $2 }
            $1 == "Depends:" { depends = $2 }
            END { if (version) print name, version, depends }')$'\n'
    done
    answer=$(grep . <<< "$answer") || true
    if [ "$(wc -l <<< "$answer")" = $# ]; then
        echo "$answer" > "$resolved_file.$$"
        mv "$resolved_file.$$" "$resolved_file"
    elif [ -s "$resolved_file" ]; then
        say "apt knows no $*: staying with the versions of last time"
    else
        die "apt has no package lists that name $*: as root, run: apt-get update"
    fi
}

version_of() { awk -v name="$1" '$1 == name || $3 == name { print $2; exit }' "$resolved_file"; }
package_behind() { awk -v name="$1" '$1 == name { print $3 }' "$resolved_file"; }

# Unpacks the files of package $1 into directory $2.
unpack() {
    local version deb work
    version=$(version_of "$1")
    deb=$cache/packages/$1_$version.deb
    if [ ! -e "$deb" ]; then
        say "downloading $1 $version"
        work=$(mktemp -d "$cache/packages/download.XXXXXX")
        # apt would otherwise download as its own user, who may not write here.
        if ! (cd "$work" && apt-get -qq -o APT::Sandbox::User=root download "$1=$version" >&2); then
            rm -rf "$work"
            die "cannot download $1 $version: is there a network? are apt's lists current (apt-get update)?"
        fi
        mv "$work"/*.deb "$deb"
        rmdir "$work"
    fi
    dpkg-deb -x "$deb" "$2"
}
