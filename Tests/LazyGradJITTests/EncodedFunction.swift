// Runs what the encoder emits, for the tests that compare it with plain Swift: a function's bytes in
// executable memory, and the harness around one instruction on vectors of data.

import LazyGradJIT

/// A function of four pointers in memory of its own.
struct EncodedFunction {
  typealias Entry =
    @convention(c) (
      UnsafeMutableRawPointer, UnsafeRawPointer, UnsafeRawPointer, UnsafeRawPointer
    ) -> Void

  // Not the shared one, whose counters other tests watch.
  private static let memory = CodeMemory(limit: 16 << 20)

  private let block: CodeBlock

  init(_ code: [UInt8]) {
    guard let block = Self.memory.install(code) else {
      preconditionFailure("encoder tests: expected executable memory, got a refusal")
    }
    self.block = block
  }

  func callAsFunction(
    _ out: UnsafeMutableRawPointer, _ a: UnsafeRawPointer, _ b: UnsafeRawPointer,
    _ c: UnsafeRawPointer
  ) {
    withExtendedLifetime(block) { unsafeBitCast(block.entry, to: Entry.self)(out, a, b, c) }
  }
}

/// 64 bytes, seen as elements of any type: what fits into the widest register.
struct Lanes {
  var bytes: [UInt8]

  init() { bytes = [UInt8](repeating: 0xEE, count: 64) }

  /// The elements, repeated to 64 bytes.
  init<T: BitwiseCopyable>(_ values: [T]) {
    bytes = []
    while bytes.count < 64 {
      for value in values { withUnsafeBytes(of: value) { bytes += $0 } }
    }
    bytes.removeLast(bytes.count - 64)
  }

  subscript<T: BitwiseCopyable>(_ i: Int, as type: T.Type) -> T {
    get {
      bytes.withUnsafeBytes {
        $0.loadUnaligned(fromByteOffset: i * MemoryLayout<T>.size, as: T.self)
      }
    }
    set {
      bytes.withUnsafeMutableBytes {
        $0.storeBytes(of: newValue, toByteOffset: i * MemoryLayout<T>.size, as: T.self)
      }
    }
  }
}

/// What one emitted body works with.
struct Body {
  let width: VectorWidth
  /// The registers of the three operands, and the one whose contents are returned.
  let a: UInt8
  let b: UInt8
  let c: UInt8
  let result: UInt8
}

enum Encoded {
  /// The widths that this processor has: none where no machine code runs.
  static let widths: [VectorWidth] = {
    if NativeCode.available.contains(.avx512) { return [.x, .y, .z] }
    if NativeCode.available.contains(.avx2) { return [.x, .y] }
    print("encoder tests: no AVX2 here, so nothing that is emitted is run")
    return []
  }()
  static var hasAVX512: Bool { widths.contains(.z) }

  /// Runs a test on every width that both the instruction and the processor have, in low
  /// registers and, where the instruction can name them, in high ones.
  static func each(_ op: VectorOp, _ test: (VectorWidth, _ high: Bool) -> Void) {
    let encoding = op.form.encoding
    if encoding == .evex, !hasAVX512 { return }
    for width in op.widths where widths.contains(width) {
      if width != .z || encoding != .vex { test(width, false) }
      if hasAVX512, encoding != .vex { test(width, true) }
    }
  }

  /// Runs a body on three operands and returns the 64 bytes of the output: the result register,
  /// where `storesResult`, over a filling of 0xEE.
  ///
  /// The body finds the addresses of output and operands in rdi, rsi, rdx and rcx. With `high` it
  /// works in registers that only the long prefix can name.
  static func run(
    _ width: VectorWidth, _ a: Lanes, _ b: Lanes, _ c: Lanes, storesResult: Bool = true,
    high: Bool = false, _ emit: (inout Assembler, Body) -> Void
  ) -> Lanes {
    var code = Assembler()
    let base: UInt8 = high ? 18 : 6
    let body = Body(width: width, a: base, b: base + 1, c: base + 2, result: base + 3)
    code.vector(.movups, width, body.a, .memory(Memory(.rsi)))
    code.vector(.movups, width, body.b, .memory(Memory(.rdx)))
    code.vector(.movups, width, body.c, .memory(Memory(.rcx)))
    code.vector(.movups, width, body.result, .memory(Memory(.rdi)))
    emit(&code, body)
    if storesResult {
      code.vector(.movupsStore, width, body.result, .memory(Memory(.rdi)))
    }
    code.vzeroupper()
    code.ret()
    let function = EncodedFunction(code.finish())
    var out = Lanes()
    out.bytes.withUnsafeMutableBytes { out in
      a.bytes.withUnsafeBytes { a in
        b.bytes.withUnsafeBytes { b in
          c.bytes.withUnsafeBytes { c in
            function(out.baseAddress!, a.baseAddress!, b.baseAddress!, c.baseAddress!)
          }
        }
      }
    }
    return out
  }
}
