//! The launcher as its users meet it: [`linux`] boots Linux (and runs in the
//! nested host where this machine's KVM cannot), [`kvm`] runs guests of our own
//! on whatever KVM there is, [`pages`] reads the documents,
//! [`structure`] the sources, and [`summaries`] what is said of all these tests.
//! One file per promise.

#[cfg(test)]
mod kvm;
#[cfg(test)]
mod linux;
#[cfg(test)]
mod pages;
#[cfg(test)]
mod structure;
#[cfg(test)]
mod summaries;
