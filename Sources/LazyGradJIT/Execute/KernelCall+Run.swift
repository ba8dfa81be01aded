// Runs the calls of machine code that small kernels amount to. Uses Plan and Codegen.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

extension KernelCall {
  @inline(__always)
  func run(_ context: RunContext) {
    switch self {
    case .product(let call): ProductCall.run(call, context)
    case .loop(let call): call.pointee.run(context)
    case .copy(let call):
      memcpy(
        context.address(call.pointee.target), context.address(call.pointee.source),
        call.pointee.byteCount)
    }
  }
}

extension ProductCall {
  @inline(__always)
  static func run(_ call: UnsafeMutablePointer<ProductCall>, _ context: RunContext) {
    // The call begins with its arguments. Passed as a value they would be copied every time.
    unsafeBitCast(call.pointee.entry, to: ProductArguments.Function.self)(
      call, context.address(call.pointee.b), context.address(call.pointee.c),
      context.address(call.pointee.a))
  }
}

extension LoopCall {
  @inline(__always)
  func run(_ context: RunContext) {
    let frame = context.scratch + self.frame
    let table = (frame + LoopFrame.pointers).assumingMemoryBound(
      to: UnsafeMutableRawPointer.self)
    for i in 0..<arguments.count { table[i] = context.address(arguments[i]) }
    Self.run(entry, count: count, startColumn: 0, frame)
  }

  /// Calls the code on so many elements until it needs no more help. The arguments are in the frame.
  @inline(__always)
  static func run(
    _ entry: UnsafeRawPointer, count: Int, startColumn: Int, _ frame: UnsafeMutableRawPointer
  ) {
    frame.storeBytes(of: 0, toByteOffset: LoopFrame.resume, as: Int.self)
    frame.storeBytes(of: count, toByteOffset: LoopFrame.elementCount, as: Int.self)
    frame.storeBytes(of: startColumn, toByteOffset: LoopFrame.startColumn, as: Int.self)
    typealias Code = @convention(c) (UnsafeMutableRawPointer) -> Int
    let code = unsafeBitCast(entry, to: Code.self)
    var request = code(frame)
    while request != 0 {
      NativeHelp.answer(LoopRequest(bits: request), frame)
      request = code(frame)
    }
  }
}
