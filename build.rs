//! Options of the linker that make the binary, and so the image, smaller.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Relocations of a static binary that can be loaded anywhere take 24 bytes each; packed, a few bits.
    println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    // Generic code that compiles to the same instructions is kept once. Only lld can do that, which Rust links with on x86-64.
    if std::env::var("TARGET").is_ok_and(|target| target == "x86_64-unknown-linux-gnu") {
        println!("cargo::rustc-link-arg-bins=-Wl,--icf=all");
    }
}
