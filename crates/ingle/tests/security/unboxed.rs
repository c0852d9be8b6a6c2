//! Where namespaces are forbidden, as they are in many containers: what is left is Landlock, seccomp and limits.

#[test]
fn t_010b_without_namespaces() {}
