//! What a guest boots: the files of the command line, and the words of the kernel command line that
//! follow from other options.

use anyhow::Result;
use host::progress;
use machine::boot::cmdline::KernelVerbosity;
use machine::boot::{self, BootFiles, BootRequest};

use crate::config::{Config, tunnet};
use crate::exec;

/// The boot request of this command line, with these files.
pub(crate) fn request<'a>(config: &'a Config, files: &'a BootFiles) -> BootRequest<'a> {
    let mut request = BootRequest::new(files, &config.arguments);
    request.serial = config.earlycon;
    request.verbosity = verbosity(config);
    request.addresses = tunnet::kernel_words(config);
    request.more = [exec::kernel_words(config), tunnet::driver_words(config)].concat();
    request
}

/// The kernel command line of this configuration.
///
/// # Errors
/// When it is too long.
pub(crate) fn command_line(config: &Config) -> Result<String> {
    let files = BootFiles::new(&config.kernel, &config.initrd, progress::watch);
    boot::command_line(&request(config, &files))
}

/// How much the kernel prints: it has to print what a boot test looks for.
fn verbosity(config: &Config) -> KernelVerbosity {
    let boot_test = &config.boot_test;
    match (boot_test.expect.is_empty() && boot_test.fail_on.is_empty(), boot_test.strict) {
        (false, _) => KernelVerbosity::All,
        (true, true) => KernelVerbosity::Warnings,
        (true, false) => KernelVerbosity::Quiet,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_test_decides_what_the_kernel_prints() {
        let verbosity = |words: &[&str]| verbosity(&Config::of(words));
        assert_eq!(verbosity(&["--exec=true", "--junit=x"]), KernelVerbosity::Quiet);
        assert_eq!(verbosity(&["--strict"]), KernelVerbosity::Warnings);
        assert_eq!(verbosity(&["--expect=x"]), KernelVerbosity::All);
        assert_eq!(verbosity(&["--fail-on=x", "--strict"]), KernelVerbosity::All);
    }
}
