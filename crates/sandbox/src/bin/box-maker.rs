//! The maker by itself, for tests of this room; in the product it is `ingle`.

fn main() {
    ingle_sandbox::boxes::serve()
}
