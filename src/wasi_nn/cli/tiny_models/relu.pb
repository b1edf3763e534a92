
.
xPlaceholder*
shape:*
dtype0

yRelux*
T0"ª