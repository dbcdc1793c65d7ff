//! A child of httpd that was taken over; started as httpd's user.

fn main() -> std::io::Result<()> {
    wsgid_tests::hostile::child::run()
}
