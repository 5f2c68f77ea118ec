//! The launcher as its users see it. [`linux`] boots Linux (in the nested host if this machine's
//! KVM cannot), [`kvm`] runs small guests of our own on any KVM, [`pages`] checks the documents,
//! [`structure`] the sources, and [`summaries`] the summaries of all these tests.

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
