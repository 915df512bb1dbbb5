//! Handshakes on a real socket, with certificates of the test's own.
