//! The words of the kernel command line that concern the init.

use std::fs;
use std::path::Path;

/// The words of /proc/cmdline.
#[derive(Debug, Default)]
pub(crate) struct KernelWords(Vec<String>);

impl KernelWords {
    /// Reads the file cmdline of this /proc. There are no words if it is not mounted.
    pub(crate) fn read(proc: &Path) -> Self {
        Self::of(&fs::read_to_string(proc.join("cmdline")).unwrap_or_default())
    }

    /// Splits a line into words. Blanks between quotes are part of a word. Words after "--" belong
    /// to another init.
    fn of(line: &str) -> Self {
        let mut words = vec![String::new()];
        let mut quoted = false;
        for character in line.trim_end().chars() {
            match (character, words.last_mut()) {
                ('"', _) => quoted = !quoted,
                (blank, _) if blank.is_ascii_whitespace() && !quoted => words.push(String::new()),
                (character, Some(word)) => word.push(character),
                (_, None) => {}
            }
        }
        words.retain(|word| !word.is_empty());
        Self(words.into_iter().take_while(|word| word != "--").collect())
    }

    /// Returns the values of a parameter, in order.
    pub(crate) fn values(&self, parameter: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(move |word| word.strip_prefix(parameter)?.strip_prefix('='))
    }

    /// Returns the last value of a parameter, which is the one that counts.
    pub(crate) fn value(&self, parameter: &str) -> Option<&str> {
        self.values(parameter).last()
    }

    /// Returns the last of these words (without a value) that is on the command line.
    pub(crate) fn last_of(&self, words: &[&str]) -> Option<&str> {
        self.0.iter().map(String::as_str).rfind(|word| words.contains(word))
    }

    /// Returns the parameters of a module, `MODULE.PARAMETER=VALUE`, in the form that the kernel
    /// takes when it loads the module. `-` and `_` are the same in both names.
    pub(crate) fn of_module(&self, module: &str) -> String {
        let same = |name: &str| name.replace('-', "_") == module.replace('-', "_");
        let words = self.0.iter().filter_map(|word| {
            let (name, rest) = word.split_once('.')?;
            let (parameter, value) = rest.split_once('=').unwrap_or((rest, ""));
            let quote = if value.contains(char::is_whitespace) { "\"" } else { "" };
            let equals = if rest.contains('=') { "=" } else { "" };
            same(name).then(|| format!("{parameter}{equals}{quote}{value}{quote}"))
        });
        words.collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let words = KernelWords::of("root=/dev/vda ro rootflags=\"a b\" root=/dev/vdb rw -- ro\n");
        assert_eq!(words.value("root"), Some("/dev/vdb"));
        assert_eq!(words.value("rootflags"), Some("a b"));
        assert_eq!(words.value("rootfstype"), None);
        assert_eq!(words.last_of(&["ro", "rw"]), Some("rw"));
    }

    #[test]
    fn what_is_a_modules() {
        let words = KernelWords::of("quiet virtio-net.napi_tx=0 virtio_net.x=\"1 2\" loop.y a.b=1");
        assert_eq!(words.of_module("virtio_net"), "napi_tx=0 x=\"1 2\"");
        assert_eq!(words.of_module("loop"), "y");
        assert_eq!(words.of_module("dummy"), "");
    }
}
