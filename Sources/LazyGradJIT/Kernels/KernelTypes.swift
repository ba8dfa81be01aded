// What kernels are handed: plain pointers and counts. Rules of memory for all of them:
// - array memory is 64-byte aligned at its start and may be read up to 64 bytes past its end;
// - a tile kernel may write its destination up to the next multiple of 8 elements;
// - the destination may be the same address as an operand, never an overlapping other one.

/// The namespace of kernels over tiles: short contiguous runs of elements.
package enum Tile {}

/// The namespace of kernels that move elements between contiguous and strided memory.
package enum Strided {}

/// The namespace of reductions over contiguous runs.
package enum Reduce {}

/// The namespace of matrix products.
package enum Matmul {}
