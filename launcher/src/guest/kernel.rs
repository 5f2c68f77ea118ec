//! What a guest boots, as the command line describes it: the files, and the words of the kernel
//! command line that follow from other options.

use crate::boot::cmdline::Talk;
use crate::boot::{Files, Request};
use crate::config::{Config, tunnet};
use crate::exec;

/// The guest of this command line, started from these files.
pub(crate) fn request<'a>(config: &'a Config, files: &'a Files) -> Request<'a> {
    let mut request = Request::new(files, &config.arguments);
    request.serial = config.earlycon;
    request.talk = talk(config);
    request.addresses = tunnet::kernel_words(config);
    request.more = [exec::kernel_words(config), tunnet::driver_words(config)].concat();
    request
}

/// The kernel has to print what a boot test looks for.
fn talk(config: &Config) -> Talk {
    let trial = &config.trial;
    match (trial.expect.is_empty() && trial.fail_on.is_empty(), trial.strict) {
        (false, _) => Talk::All,
        (true, true) => Talk::Warnings,
        (true, false) => Talk::Quiet,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_test_decides_what_the_kernel_prints() {
        let talk = |words: &[&str]| talk(&Config::of(words));
        assert_eq!(talk(&["--exec=true", "--junit=x"]), Talk::Quiet);
        assert_eq!(talk(&["--strict"]), Talk::Warnings);
        assert_eq!(talk(&["--expect=x"]), Talk::All);
        assert_eq!(talk(&["--fail-on=x", "--strict"]), Talk::All);
    }
}
