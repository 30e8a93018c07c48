//! Programs of a few bytes, which say something and end.

const BASE: u64 = 0x40_0000;
const HEADER: usize = 64;
const SEGMENT: usize = 56;

/// A program for this machine's Linux that prints `text`. With an `interpreter`, it asks for that dynamic loader.
///
/// # Panics
/// If there is none for this machine's processor.
pub fn program(text: &str, interpreter: Option<&str>) -> Vec<u8> {
    let length = u32::try_from(text.len()).expect("a short text");
    let (machine, code): (u16, Vec<u8>) = match std::env::consts::ARCH {
        "x86_64" => {
            let mut code = b"\xb8\x01\0\0\0\xbf\x01\0\0\0\x48\x8d\x35\x10\0\0\0\xba".to_vec();
            code.extend(length.to_le_bytes());
            code.extend(b"\x0f\x05\xb8\x3c\0\0\0\x31\xff\x0f\x05");
            (62, code)
        }
        "aarch64" => {
            let words = [
                0xd280_0020,
                0x1000_00e1,
                0xd280_0002 | (length << 5),
                0xd280_0808,
                0xd400_0001,
                0xd280_0000,
                0xd280_0ba8,
                0xd400_0001,
            ];
            (
                183,
                words
                    .iter()
                    .flat_map(|word: &u32| word.to_le_bytes())
                    .collect(),
            )
        }
        other => panic!("no program for {other}"),
    };
    let interpreter = interpreter.map(|path| [path.as_bytes(), b"\0"].concat());
    let segments = 1 + interpreter.iter().len();
    let start = HEADER + segments * SEGMENT;
    let named = start + code.len() + text.len();
    let end = named + interpreter.as_ref().map_or(0, Vec::len);

    let mut program = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0".to_vec();
    program.extend(machine.to_le_bytes());
    program.extend(1u32.to_le_bytes());
    program.extend((BASE + start as u64).to_le_bytes());
    program.extend((HEADER as u64).to_le_bytes());
    program.extend([0; 12]);
    let sizes = [HEADER, SEGMENT, segments, 64, 0, 0];
    program.extend(
        sizes
            .iter()
            .flat_map(|&size| u16::try_from(size).expect("small").to_le_bytes()),
    );
    program.extend(segment(1, 5, 0, end));
    if let Some(path) = &interpreter {
        program.extend(segment(3, 4, named, path.len()));
    }
    program.extend(code);
    program.extend(text.as_bytes());
    program.extend(interpreter.unwrap_or_default());
    program
}

fn segment(kind: u32, flags: u32, offset: usize, size: usize) -> Vec<u8> {
    let (offset, size) = (offset as u64, size as u64);
    let numbers = [offset, BASE + offset, BASE + offset, size, size, 0x1000];
    let words = [kind.to_le_bytes(), flags.to_le_bytes()].concat();
    [
        words,
        numbers
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect(),
    ]
    .concat()
}
